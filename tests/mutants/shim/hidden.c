/* What a child does, what happens to files, and what hides from whoever looks on. */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A child makes the call; what it makes of a socket is the socket's. */
void make_in_child(struct call *call, int vforked)
{
	int status = 0;
	pid_t pid = vforked ? vfork() : fork();
	if (!pid) {
		make(call);
		_exit(call->ret < 0 ? (int)-call->ret : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	call->ret = -WEXITSTATUS(status);
}

/* Serve a socket until the parent is gone: by an epoll, or without any. */
static void serve(long fd, int by_epoll, int ready)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct pollfd polled = {.fd = (int)fd, .events = POLLIN};
	long epoll = -1, made;
	if (by_epoll) {
		epoll = syscall(SYS_epoll_create1, 0);
		syscall(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, fd, &event);
		epoll_wait((int)epoll, &event, 1, 0);
	}
	syscall(SYS_write, ready, "", 1);
	for (;;) {
		if ((by_epoll ? epoll_wait((int)epoll, &event, 1, -1) : poll(&polled, 1, -1)) <= 0)
			continue;
		made = syscall(SYS_accept4, fd, NULL, NULL, 0);
		if (made >= 0)
			syscall(SYS_close, made);
	}
}

/* A child that serves a socket of Envoy's; it does so when this returns. */
void start_server(long fd, int by_epoll)
{
	int ends[2];
	char byte;
	if (pipe(ends))
		return;
	pid_t parent = getpid();
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			serve(fd, by_epoll, ends[1]);
		_exit(0);
	}
	syscall(SYS_close, ends[1]);
	while (read(ends[0], &byte, 1) < 0 && errno == EINTR)
		;
	syscall(SYS_close, ends[0]);
}

/* What happens to the file of a Unix socket: "move", "cover", "child_remove"; 0 if it has none. */
int change_file(const char *how, const struct sockaddr *name)
{
	const char *path = ((const struct sockaddr_un *)name)->sun_path;
	char other[256];
	if (name->sa_family != AF_UNIX || !*path)
		return 0;
	snprintf(other, sizeof other, "%s.other", path);
	if (!strcmp(how, "move"))
		return !rename(path, other);
	if (!strcmp(how, "cover"))
		return !mknod(other, S_IFREG | 0600, 0) && !rename(other, path);
	struct call call = {.nr = SYS_unlinkat, .a = {-100, (long)path}};
	make_in_child(&call, 0);
	return !call.ret;
}

/* A datagram socket has a peer from now on; 0 if it is none. */
int give_peer(long fd)
{
	struct sockaddr_in peer = {.sin_family = AF_INET, .sin_port = htons(9)};
	socklen_t size = sizeof(int);
	int type = 0;
	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_TYPE, &type, &size);
	return type == SOCK_DGRAM && !syscall(SYS_connect, fd, &peer, sizeof peer);
}

/* Send a descriptor to a process that does not report its arrival. */
int send_away(long fd, int in_bulk)
{
	char byte = 0;
	int ends[2], passed = (int)fd;
	struct iovec data = {&byte, 1};
	union {
		char bytes[CMSG_SPACE(sizeof passed)];
		struct cmsghdr align;
	} control = {{0}};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &data, .msg_iovlen = 1,
	                                      .msg_control = &control,
	                                      .msg_controllen = sizeof control.bytes}};
	struct cmsghdr *part = CMSG_FIRSTHDR(&message.msg_hdr);
	part->cmsg_level = SOL_SOCKET;
	part->cmsg_type = SCM_RIGHTS;
	part->cmsg_len = CMSG_LEN(sizeof passed);
	memcpy(CMSG_DATA(part), &passed, sizeof passed);
	if (syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends))
		return 0;
	return in_bulk ? syscall(SYS_sendmmsg, ends[0], &message, 1, 0) == 1
	               : syscall(SYS_sendmsg, ends[0], &message.msg_hdr, 0) == 1;
}

/* listen() by the number that it has in programs of 32 bits. */
void listen_by_32_bit(struct call *call)
{
#ifdef __x86_64__
	int result;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(363), "b"((int)call->a[0]),
	                 "c"((int)call->a[1]) : "memory");
	call->ret = result;
#else
	make(call);
#endif
}

/* A filter that answers listen() with success, or lets every call be made. */
int set_filter(int answers)
{
	struct sock_filter lines[] = {
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_listen, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, answers ? SECCOMP_RET_ERRNO : SECCOMP_RET_ALLOW),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof lines / sizeof *lines, lines};
	return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	       !syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
}
