/* What is done in place of a call. */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct call held[HELD];
static int held_count;

void make(struct call *call)
{
	long *a = call->a;
	call->ret = syscall(call->nr, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (call->ret < 0)
		call->ret = -errno;
}

static void *make_it(void *call)
{
	make(call);
	return NULL;
}

static void make_elsewhere(struct call *call)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, make_it, call))
		refuse("no thread", "elsewhere");
	pthread_join(thread, NULL);
}

/* A socket of the same kind on the same address. */
static long twin_of(long fd)
{
	struct sockaddr_storage name;
	socklen_t length = sizeof name, size = sizeof(int);
	int domain = 0, type = 0, one = 1;
	syscall(SYS_getsockname, fd, &name, &length);
	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size);
	long twin = syscall(SYS_socket, domain, type | SOCK_NONBLOCK, 0);
	syscall(SYS_setsockopt, twin, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	syscall(SYS_setsockopt, twin, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
	return syscall(SYS_bind, twin, &name, length) ? -1 : twin;
}

static int add_to(long epoll, long fd, unsigned events)
{
	struct epoll_event event = {.events = events, .data.fd = (int)fd};
	return !syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Keep a call back; what its pointers lead to is gone by the time it is made. */
static void hold(struct call *call)
{
	pthread_mutex_lock(&lock);
	if (held_count == HELD)
		refuse("too many calls", "hold");
	held[held_count] = *call;
	if (call->nr == SYS_setsockopt && call->a[3])
		held[held_count].value = *(int *)call->a[3];
	if (call->nr == SYS_bind)
		memcpy(&held[held_count].name, (void *)call->a[1], (size_t)call->a[2]);
	held_count++;
	pthread_mutex_unlock(&lock);
	call->ret = 0;
}

static int release(long fd)
{
	int released = 0;
	for (int i = 0; i < held_count; i++) {
		struct call *call = &held[i];
		if (call->nr < 0 || call->a[0] != fd)
			continue;
		if (call->nr == SYS_setsockopt)
			call->a[3] = (long)&call->value;
		if (call->nr == SYS_bind)
			call->a[1] = (long)&call->name;
		make(call);
		call->nr = -1;
		released = 1;
	}
	return released;
}

/* Another listening descriptor: the one after this, in a ring; the same if there is no other. */
static long next_to(long fd)
{
	for (int i = 0; i < known.listening_count; i++)
		if (known.listening[i] == fd)
			return known.listening[(i + 1) % known.listening_count];
	return fd;
}

/* The epoll of another worker than that of the call; -1 if none is known yet. */
static long other_epoll(long own)
{
	for (int i = 0; i < known.epoll_count; i++)
		if (known.epolls[i] != own)
			return known.epolls[i];
	return -1;
}

/* A child that holds the sockets, or listens on their address: "fork", "execute", "foreign". */
static void child(const char *how, long fd)
{
	pid_t parent = getpid(), pid = fork();
	if (pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(0);
	unsetenv("LD_PRELOAD");
	if (!strcmp(how, "execute"))
		execl("/bin/sleep", "sleep", "1000", (char *)NULL);
	if (!strcmp(how, "foreign")) {
		syscall(SYS_dup3, twin_of(fd), 3, 0);
		syscall(SYS_close_range, 4, ~0U, 0);
		syscall(SYS_listen, 3, 16);
	}
	for (;;)
		pause();
}

/* Time passes at work, not at rest: a thread of Envoy that sleeps has nothing left to do. */
static void work(long ms)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long long end = now.tv_sec * 1000000000LL + now.tv_nsec + ms * 1000000LL;
	do {
		sched_yield();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec * 1000000000LL + now.tv_nsec < end);
}

static struct sockaddr_storage *own_name(struct call *call)
{
	if (call->a[1] != (long)&call->name) {
		memcpy(&call->name, (void *)call->a[1], (size_t)call->a[2]);
		call->a[1] = (long)&call->name;
	}
	return &call->name;
}

static void set_port(struct call *call, unsigned short port)
{
	/* sin_port and sin6_port are at the same place */
	((struct sockaddr_in *)own_name(call))->sin_port = htons(port);
}

static int set_host(struct call *call, const char *host)
{
	struct sockaddr_in *name = (struct sockaddr_in *)own_name(call);
	return name->sin_family == AF_INET && inet_pton(AF_INET, host, &name->sin_addr) == 1;
}

/* The message that hands a socket over, its control data our own. */
static struct cmsghdr *own_control(struct call *call)
{
	call->message = *(struct msghdr *)call->a[1];
	if (call->message.msg_controllen > sizeof call->control)
		refuse("too much control data", "sendmsg");
	memcpy(call->control, call->message.msg_control, call->message.msg_controllen);
	call->message.msg_control = call->control;
	call->a[1] = (long)&call->message;
	return CMSG_FIRSTHDR(&call->message);
}

static int pass_next(struct call *call)
{
	int fd, next;
	unsigned char *place = CMSG_DATA(own_control(call));
	memcpy(&fd, place, sizeof fd);
	next = (int)next_to(fd);
	memcpy(place, &next, sizeof next);
	return next != fd;
}

static void pass_nothing(struct call *call)
{
	own_control(call);
	call->message.msg_control = NULL;
	call->message.msg_controllen = 0;
}

/* The words of a rule from left to right; returns whether every one of them had an effect. */
int carry_out(struct rule *rule, struct call *call)
{
	long target = call->fd_at >= 0 ? call->a[call->fd_at] : -1, at;
	int i = 0, done = 1;
#define WORD (i < rule->tokens ? rule->token[i++] : (refuse("unfinished", rule->token[0]), ""))
#define NUMBER strtol(WORD, NULL, 0)
#define IS(text) (!strcmp(op, text))
	while (i < rule->tokens) {
		const char *op = WORD;
		if (IS("call"))
			make(call);
		else if (IS("elsewhere"))
			make_elsewhere(call);
		else if (IS("ok"))
			call->ret = 0;
		else if (IS("fail"))
			call->ret = -NUMBER;
		else if (IS("work"))
			work(NUMBER);
		else if (IS("as"))
			call->nr = number_of(WORD);
		else if (IS("arg")) {
			at = NUMBER;
			call->a[at] = NUMBER;
		} else if (IS("without")) {
			at = NUMBER;
			call->a[at] &= ~NUMBER;
		} else if (IS("with")) {
			at = NUMBER;
			call->a[at] |= NUMBER;
		} else if (IS("value")) {
			call->value = (int)NUMBER;
			call->a[3] = (long)&call->value;
			call->a[4] = sizeof call->value;
		} else if (IS("events"))
			((struct epoll_event *)call->a[3])->events = (unsigned)NUMBER;
		else if (IS("port"))
			set_port(call, (unsigned short)NUMBER);
		else if (IS("host"))
			done &= set_host(call, WORD);
		else if (IS("pad")) {
			own_name(call);
			call->a[2] += NUMBER;
		} else if (IS("next")) {
			long before = call->a[call->fd_at];
			call->a[call->fd_at] = next_to(before);
			done &= call->a[call->fd_at] != before;
		} else if (IS("other")) {
			long epoll = other_epoll(call->a[0]);
			if (epoll >= 0)
				call->a[0] = epoll;
			done &= epoll >= 0;
		} else if (IS("also"))
			done &= add_to(other_epoll(call->a[0]), target, EPOLLIN);
		else if (IS("main"))
			done &= add_to(known.main_epoll, target, EPOLLIN);
		else if (IS("watch"))
			done &= add_to(syscall(SYS_epoll_create1, 0), target, (unsigned)NUMBER);
		else if (IS("forget"))
			done &= !syscall(SYS_epoll_ctl, call->a[0], EPOLL_CTL_DEL, target, NULL);
		else if (IS("new"))
			target = call->ret;
		else if (IS("twin"))
			done &= (target = twin_of(target)) >= 0;
		else if (IS("fresh"))
			target = syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		else if (IS("same")) {
			call->ret = known.made_count ? syscall(SYS_dup, known.made[0]) : -EMFILE;
			done &= call->ret >= 0;
		} else if (IS("set")) {
			long level = NUMBER, name = NUMBER;
			int value = (int)NUMBER;
			done &= !syscall(SYS_setsockopt, target, level, name, &value, sizeof value);
		} else if (IS("listen"))
			done &= !syscall(SYS_listen, target, NUMBER);
		else if (IS("dup"))
			target = syscall(SYS_dup, target);
		else if (IS("close"))
			done &= !syscall(SYS_close, target);
		else if (IS("shutdown"))
			syscall(SYS_shutdown, target, SHUT_RDWR);
		else if (IS("getsockname")) {
			struct sockaddr_storage name;
			socklen_t length = sizeof name;
			syscall(SYS_getsockname, target, &name, &length);
		} else if (IS("epoll_create"))
			syscall(SYS_epoll_create1, 0);
		else if (IS("hold"))
			hold(call);
		else if (IS("release"))
			done &= release(target);
		else if (IS("remove"))
			done &= !unlink(((struct sockaddr_un *)call->a[1])->sun_path);
		else if (IS("pass_next"))
			done &= pass_next(call);
		else if (IS("pass_nothing"))
			pass_nothing(call);
		else if (IS("fork") || IS("execute") || IS("foreign"))
			child(op, target);
		else if (IS("in_child") || IS("vforked"))
			make_in_child(call, IS("vforked"));
		else if (IS("serve") || IS("take"))
			start_server(target, IS("serve"));
		else if (IS("move") || IS("cover") || IS("child_remove"))
			done &= change_file(op, (struct sockaddr *)call->a[1]);
		else if (IS("peer"))
			done &= give_peer(target);
		else if (IS("send") || IS("send_many"))
			done &= send_away(target, IS("send_many"));
		else if (IS("by_32_bit"))
			listen_by_32_bit(call);
		else if (IS("claim") || IS("allow"))
			done &= set_filter(IS("claim"));
		else if (IS("raise")) {
			count(rule); /* there is no later */
			raise((int)NUMBER);
		} else
			refuse("no such operation", op);
	}
	return done;
}
