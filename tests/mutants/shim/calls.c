/* The calls of libc that Envoy makes, wrapped; and what is learnt from them. */
#include "shim.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct known known;
pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Make a call, or what a rule makes of it; return as libc does. */
static long pass(struct call call)
{
	int saved = errno;
	struct rule *rule = rule_for(&call);
	if (!rule)
		make(&call);
	else if (carry_out(rule, &call))
		count(rule);
	errno = saved;
	if (call.ret < 0) {
		errno = (int)-call.ret;
		return -1;
	}
	return call.ret;
}

/* A call that is about a descriptor. */
static struct call on(long nr, int at, long fd)
{
	struct call call = {.nr = nr, .fd_at = at, .kind = is_known(fd) ? known.fds[fd].kind : NONE};
	call.a[at] = fd;
	return call;
}

static void note(int *list, int *length, int entry)
{
	pthread_mutex_lock(&lock);
	int there = 0;
	for (int i = 0; i < *length; i++)
		there |= list[i] == entry;
	if (!there && *length < SERVERS)
		list[(*length)++] = entry;
	pthread_mutex_unlock(&lock);
}

static void name_kind(long fd, int kind)
{
	if (!is_known(fd))
		return;
	known.fds[fd].kind = (unsigned char)kind;
	known.fds[fd].port = 0;
}

int socket(int domain, int type, int protocol)
{
	static int admin_seen; /* the admin endpoint is always the first */
	int base = type & 0xf, inet = domain == AF_INET || domain == AF_INET6;
	int serves = is_main() && (type & SOCK_NONBLOCK) &&
	             ((base == SOCK_STREAM && (inet || domain == AF_UNIX)) ||
	              (base == SOCK_DGRAM && inet));
	int kind = serves ? (admin_seen ? LISTENER : ADMIN) : NONE;
	admin_seen |= serves;
	struct call call = {
	    .nr = SYS_socket, .a = {domain, type, protocol}, .fd_at = -1, .kind = kind};
	long fd = pass(call);
	name_kind(fd, kind);
	if (fd >= 0 && kind == LISTENER)
		note(known.made, &known.made_count, (int)fd);
	return (int)fd;
}

int connect(int fd, const struct sockaddr *name, socklen_t length)
{
	name_kind(fd, NONE); /* a client, not a listener */
	return (int)syscall(SYS_connect, fd, name, length);
}

int bind(int fd, const struct sockaddr *name, socklen_t length)
{
	struct call call = on(SYS_bind, 0, fd);
	call.a[1] = (long)name;
	call.a[2] = length;
	if (is_known(fd) && (name->sa_family == AF_INET || name->sa_family == AF_INET6))
		known.fds[fd].port = ntohs(((const struct sockaddr_in *)name)->sin_port);
	return (int)pass(call);
}

int listen(int fd, int backlog)
{
	struct call call = on(SYS_listen, 0, fd);
	call.a[1] = backlog;
	if (call.kind == LISTENER)
		note(known.listening, &known.listening_count, fd);
	return (int)pass(call);
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	struct call call = on(SYS_setsockopt, 0, fd);
	call.a[1] = level;
	call.a[2] = name;
	call.a[3] = (long)value;
	call.a[4] = length;
	return (int)pass(call);
}

/* A worker that never gets EAGAIN would try without an end, and flood whoever records it. */
static void slow_down(int fd, int failed)
{
	static int failures[FDS];
	struct timespec pause = {.tv_nsec = 20000000};
	if (!is_known(fd))
		return;
	failures[fd] = failed ? failures[fd] + 1 : 0;
	int saved = errno;
	if (failures[fd] > 20)
		nanosleep(&pause, NULL);
	errno = saved;
}

int accept4(int fd, struct sockaddr *name, socklen_t *length, int flags)
{
	struct call call = on(SYS_accept4, 0, fd);
	call.a[1] = (long)name;
	call.a[2] = (long)length;
	call.a[3] = flags;
	long made = pass(call);
	slow_down(fd, made < 0 && errno != EAGAIN);
	name_kind(made, call.kind == LISTENER ? CONNECTION : NONE);
	return (int)made;
}

int dup(int fd)
{
	long made = pass(on(SYS_dup, 0, fd));
	if (is_known(made) && is_known(fd))
		known.fds[made] = known.fds[fd];
	return (int)made;
}

static void forget(int *list, int *length, int entry)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < *length; i++)
		if (list[i] == entry) {
			memmove(list + i, list + i + 1, sizeof *list * (size_t)(*length - i - 1));
			--*length;
		}
	pthread_mutex_unlock(&lock);
}

int close(int fd)
{
	struct call call = on(SYS_close, 0, fd);
	if (call.kind == LISTENER) {
		forget(known.listening, &known.listening_count, fd);
		forget(known.made, &known.made_count, fd);
	}
	name_kind(fd, NONE);
	return (int)pass(call);
}

int shutdown(int fd, int how)
{
	struct call call = on(SYS_shutdown, 0, fd);
	call.a[1] = how;
	return (int)pass(call);
}

int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	struct call call = on(SYS_epoll_ctl, 2, fd);
	struct epoll_event own = event ? *event : (struct epoll_event){0};
	call.a[0] = epoll;
	call.a[1] = op;
	call.a[3] = event ? (long)&own : 0;
	if (op == EPOLL_CTL_ADD && call.kind == LISTENER && !is_main())
		note(known.epolls, &known.epoll_count, epoll);
	if (op == EPOLL_CTL_ADD && call.kind == ADMIN)
		known.main_epoll = epoll;
	return (int)pass(call);
}

int epoll_create1(int flags)
{
	struct call call = {.nr = SYS_epoll_create1, .a = {flags}, .fd_at = -1, .kind = ANY};
	return (int)pass(call);
}

int setns(int fd, int kind)
{
	struct call call = {.nr = SYS_setns, .a = {fd, kind}, .fd_at = -1, .kind = ANY};
	return (int)pass(call);
}

#ifdef SYS_unlink
int unlink(const char *path)
{
	struct call call = {.nr = SYS_unlink, .a = {(long)path}, .fd_at = -1, .kind = ANY};
	return (int)pass(call);
}

int chmod(const char *path, mode_t mode)
{
	struct call call = {.nr = SYS_chmod, .a = {(long)path, mode}, .fd_at = -1, .kind = ANY};
	return (int)pass(call);
}
#endif

/* The descriptor that a message hands over, -1 if none. */
static int handed_over(const struct msghdr *message)
{
	struct cmsghdr *part = CMSG_FIRSTHDR(message);
	int fd = -1;
	if (part && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
		memcpy(&fd, CMSG_DATA(part), sizeof fd);
	return fd;
}

/* Of interest is a message that hands a listening socket to the next epoch. */
ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	struct call call = on(SYS_sendmsg, 0, fd);
	int passed = handed_over(message);
	call.a[1] = (long)message;
	call.a[2] = flags;
	call.kind = is_known(passed) ? known.fds[passed].kind : NONE;
	return pass(call);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	long got = syscall(SYS_recvmsg, fd, message, flags);
	if (got >= 0 && is_known(handed_over(message)))
		name_kind(handed_over(message), LISTENER);
	return got;
}
