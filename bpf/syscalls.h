/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls, recorded at their exit.
 *
 * `classes` says what to do with a call number: 0 ignores it, otherwise an ea_type. The numbers
 * differ between architectures and are filled in from user space.
 */
#ifndef EA_SYSCALLS_H
#define EA_SYSCALLS_H

#define EA_MAX_SYSCALL 512
#define EA_F_DUPFD 0
#define EA_F_DUPFD_CLOEXEC 1030
#define EA_EPOLL_CTL_ADD 1
#define EA_EPOLL_CTL_DEL 2
#define EA_SOL_SOCKET 1
#define EA_SO_ATTACH_FILTER 26
#define EA_SO_ATTACH_REUSEPORT_CBPF 51
#define EA_PR_SET_SECCOMP 22
#define EA_SECCOMP_SET_MODE_FILTER 1
#define EA_ENOSYS 38
#define EA_SCM_RIGHTS 1
#define EA_SCM_LAST 4 /* credentials, a label or a pidfd may come before descriptors */
#define EA_MSG_CTRUNC 8
#define EA_MAX_CMSGS 4
#define EA_MAX_MESSAGES 16
#define EA_TCP_CLOSE 7
#define EA_TCP_LISTEN 10

BPF_ARRAY(classes, u32, EA_MAX_SYSCALL);

/*
 * When a thread's close began. A thread's place is its id's low bits: an array is several times
 * cheaper than a hash. If another thread takes the place meanwhile, the close keeps the time of its
 * exit.
 */
#define EA_THREAD_PLACES 65536

struct ea_closing {
	u64 began_ns;
	u64 tid; /* 0 when no thread closes */
};

BPF_ARRAY(closing, struct ea_closing, EA_THREAD_PLACES);

/*
 * The files that descriptors were opened from, for setns alone: what it enters is named by a
 * descriptor. A path that is longer is recorded without its end; of very many open files the oldest
 * are forgotten, and setns then has no path.
 */
struct ea_opened {
	u64 ts_ns;
	char path[EA_DATA_SIZE];
};

BPF_TABLE("lru_hash", u64, struct ea_opened, opened, 4096);

static __always_inline u64 ea_descriptor(u64 pid_tid, u64 fd)
{
	return (pid_tid & 0xffffffff00000000ULL) | (u32)fd;
}

static __always_inline void ea_note_open(u64 pid_tid, u64 path, u64 fd)
{
	u64 key = ea_descriptor(pid_tid, fd);
	struct ea_opened file = {};

	if (ea_probe_user_text(file.path, sizeof(file.path), (void *)path) <= 0)
		file.path[0] = 0;
	file.ts_ns = bpf_ktime_get_ns();
	opened.update(&key, &file);
}

/* setns: how long ago its descriptor was opened goes into arguments, from which file into `data` */
static __always_inline u64 ea_read_opened(struct ea_record *record, u8 *data)
{
	u64 key = ea_descriptor((u64)record->pid << 32, record->args[0]);
	struct ea_opened *file = opened.lookup(&key);
	u64 age_ns;

	if (!file || !file->path[0] || ea_probe_kernel(data, sizeof(file->path), file->path))
		return 0;
	record->ts_ns = bpf_ktime_get_ns();
	age_ns = record->ts_ns - file->ts_ns;
	record->args[2] = age_ns;
	record->args[3] = age_ns >> 32;
	if (file->path[sizeof(file->path) - 2])
		record->flags |= EA_TRUNCATED;
	return sizeof(file->path);
}

/* bind, connect: address and length are inputs. accept, getsockname: outputs, valid on success. */
static __always_inline u64 ea_read_address(struct ea_record *record, const struct ea_call *call,
					   u8 *data)
{
	bool input = record->type == EA_BIND || record->type == EA_CONNECT;
	u32 length = call->args[2];
	u64 size;

	if (!input) {
		length = 0;
		if (record->ret < 0 || !call->args[1] || !call->args[2] ||
		    !ea_read_user(record, &length, sizeof(length), call->args[2]))
			return 0;
	}
	size = length;
	if (size > EA_DATA_SIZE)
		size = EA_DATA_SIZE;
	return size && ea_read_user(record, data, size, call->args[1]) ? size : 0;
}

/*
 * A classic packet filter: its length in instructions is an argument, they are the payload. The
 * value itself would be a pointer.
 */
static __always_inline u64 ea_read_program(struct ea_record *record, u8 *data, u64 from)
{
	struct ea_sock_fprog program = {};
	u64 size;

	if (!ea_read_user(record, &program, sizeof(program), from))
		return 0;
	record->args[4] = program.length;
	size = program.length * 8ULL;
	if (size > EA_PROGRAM_SIZE) {
		size = EA_PROGRAM_SIZE;
		record->flags |= EA_TRUNCATED;
	}
	return size && ea_read_user(record, data, size, program.filter) ? size : 0;
}

static __always_inline bool ea_is_program(const struct ea_call *call)
{
	u32 name = call->args[2];

	return (u32)call->args[1] == EA_SOL_SOCKET &&
	       (name == EA_SO_ATTACH_FILTER || name == EA_SO_ATTACH_REUSEPORT_CBPF) &&
	       (u32)call->args[4] == sizeof(struct ea_sock_fprog);
}

/* The value goes into the last two arguments if it fits, into the payload otherwise. */
static __always_inline u64 ea_read_option(struct ea_record *record, const struct ea_call *call,
					  u8 *data)
{
	u64 size = (u32)call->args[4];

	EA_OPAQUE(size);
	if (size <= 8) {
		if (size && !ea_read_user(record, &record->args[4], size, call->args[3]))
			record->args[4] = record->args[5] = 0;
		return 0;
	}
	if (size > EA_DATA_SIZE) {
		size = EA_DATA_SIZE;
		record->flags |= EA_TRUNCATED;
	}
	return ea_read_user(record, data, size, call->args[3]) ? size : 0;
}

/*
 * Whether one of the messages after the first may carry descriptors: by the first of what travels
 * with it. More than that of each message would take the verifier twice the time.
 */
static __always_inline bool ea_later_rights(u64 at, u64 count)
{
	struct ea_msghdr message;
	struct ea_cmsghdr header;
	int i;

#pragma clang loop unroll(disable)
	for (i = 1; i < EA_MAX_MESSAGES; i++) {
		at += sizeof(struct ea_mmsghdr);
		if (i >= count || ea_probe_user(&message, sizeof(message), (void *)at))
			return false;
		if (!message.control || message.control_length < sizeof(header) ||
		    ea_probe_user(&header, sizeof(header), (void *)message.control))
			continue;
		if (header.level == EA_SOL_SOCKET && header.type <= EA_SCM_LAST)
			return true;
	}
	return i < count;
}

/*
 * Read the descriptors that travel with a message; the second argument says if there are any. Of
 * several messages those of the first are read; that a later one has some is said.
 */
static __always_inline u64 ea_read_rights(struct ea_record *record, const struct ea_call *call,
					  u8 *data)
{
	bool several = record->type == EA_SENDMMSG || record->type == EA_RECVMMSG;
	bool receives = record->type == EA_RECVMSG || record->type == EA_RECVMMSG;
	struct ea_msghdr message;
	struct ea_cmsghdr header;
	u64 position = 0, found = 0, size = 0;
	int i;

	record->args[1] = 0;
	if (record->ret < 0 && receives)
		return 0;
	if (several && record->ret > 1 && ea_later_rights(call->args[1], record->ret)) {
		record->args[1] = 1;
		record->flags |= EA_TRUNCATED;
	}
	if (ea_probe_user(&message, sizeof(message), (void *)call->args[1]) || !message.control)
		return 0;
#pragma clang loop unroll(disable)
	for (i = 0; i < EA_MAX_CMSGS; i++) {
		if (position + sizeof(header) > message.control_length)
			break;
		if (ea_probe_user(&header, sizeof(header), (void *)(message.control + position)) ||
		    header.length < sizeof(header))
			break;
		if (header.level == EA_SOL_SOCKET && header.type == EA_SCM_RIGHTS) {
			found = message.control + position + sizeof(header);
			size = header.length - sizeof(header);
			break;
		}
		position += (header.length + 7) & ~7ULL;
	}
	if (!found)
		return 0;
	record->args[1] = 1;
	if ((receives && message.flags & EA_MSG_CTRUNC) || size > EA_DATA_SIZE)
		record->flags |= EA_TRUNCATED;
	if (size > EA_DATA_SIZE)
		size = EA_DATA_SIZE;
	return ea_read_user(record, data, size, found) ? size : 0;
}

static __always_inline u64 ea_read_path(struct ea_record *record, u8 *path, u64 from, u32 room)
{
	long length = ea_probe_user_text(path, room, (void *)from);

	if (length <= 0 || length > room) {
		record->flags |= EA_FAULT;
		return 0;
	}
	if (length == room)
		record->flags |= EA_TRUNCATED;
	return length;
}

/*
 * syscalls:sys_enter_close: a close is recorded at its exit like any call, but with the time of its
 * entry. Its number is free before it returns, and another thread may be given it and return first:
 * by the times of exit alone the new descriptor would seem to be closed.
 */
int ea_close_enter(void *ctx)
{
	u32 tid = bpf_get_current_pid_tgid();
	u32 place = tid % EA_THREAD_PLACES;
	struct ea_closing *closes = closing.lookup(&place);

	if (!closes || !ea_current_run())
		return 0;
	closes->began_ns = bpf_ktime_get_ns();
	closes->tid = tid;
	return 0;
}

/*
 * The socket that a thread's listen() has just put into LISTEN, by the kernel's own address of it.
 * It is in the record of that call. Places are shared as those of `closing` are; a call whose
 * place was taken has no address.
 */
struct ea_listening {
	u64 sk;
	u64 tid; /* 0 when there is none */
};

BPF_ARRAY(listening, struct ea_listening, EA_THREAD_PLACES);

/*
 * raw inet_sock_set_state: the socket, its old and its new state. Into LISTEN and from there to
 * CLOSE come in the context of the caller. A socket made for a new connection is a copy of the
 * listening one and leaves LISTEN for another state, in the context of whoever the packet
 * interrupted: it is not recorded.
 */
int ea_tcp_state(struct bpf_raw_tracepoint_args *ctx)
{
	u64 sk = ctx->args[0];
	u32 old = ctx->args[1];
	u32 new = ctx->args[2];
	struct ea_listening *listens;
	struct ea_draft *draft;
	u64 pid_tid;
	u32 run, place;

	if (new != EA_TCP_LISTEN && (old != EA_TCP_LISTEN || new != EA_TCP_CLOSE))
		return 0;
	pid_tid = bpf_get_current_pid_tgid();
	run = ea_run_of(pid_tid >> 32);
	if (!run)
		return 0;
	place = (u32)pid_tid % EA_THREAD_PLACES;
	listens = listening.lookup(&place);
	if (!listens)
		return 0;
	if (new == EA_TCP_LISTEN) {
		listens->sk = sk;
		listens->tid = (u32)pid_tid;
		return 0;
	}
	if (listens->sk == sk)
		listens->tid = 0; /* listen() fails after all: another socket has the port */
	draft = ea_begin(EA_DRAFT_TCP, run, EA_TCP_STATE, 0);
	if (!draft)
		return 0;
	draft->record.args[0] = sk;
	draft->record.args[1] = sk >> 32;
	draft->record.args[2] = old;
	draft->record.args[3] = new;
	ea_end(draft, 0);
	return 0;
}

/* listen: the kernel's address of a socket that began to listen by this call goes into arguments */
static __always_inline void ea_read_listening(struct ea_record *record)
{
	u32 place = record->tid % EA_THREAD_PLACES;
	struct ea_listening *listens = listening.lookup(&place);

	if (!listens || listens->tid != record->tid)
		return;
	record->args[4] = listens->sk;
	record->args[5] = listens->sk >> 32;
	listens->tid = 0;
}

/*
 * Put what is recorded of a call beyond its first three arguments into its record. Return false if
 * it is not to be recorded after all. What several calls need is done behind the switch, once: the
 * compiler puts a copy of it wherever it is called.
 */
static __always_inline bool ea_describe(void *ctx, const struct ea_call *call,
					struct ea_draft *draft, u64 *frames, u64 *length)
{
	struct ea_record *record = &draft->record;
	u8 *data = (u8 *)draft->frames;
	struct ea_target *target;
	struct ea_counters *count;
	struct ea_closing *closes;
	bool stack = false, address = false;
	u64 path_at = 0, second_at = 0, program_at = 0;
	u32 place;

	switch (record->type) {
	case EA_BIND:
		stack = address = true;
		break;
	case EA_LISTEN:
		ea_read_listening(record);
		/* fall through */
	case EA_SOCKET:
	case EA_DUP:
	case EA_DUP2:
	case EA_DUP3:
	case EA_FCNTL:
		stack = true;
		break;
	case EA_ACCEPT4:
		record->args[3] = call->args[3];
		/* fall through */
	case EA_ACCEPT:
	case EA_CONNECT:
	case EA_GETSOCKNAME:
		address = true;
		break;
	case EA_SETSOCKOPT:
		record->args[3] = call->args[4];
		if (ea_is_program(call))
			program_at = call->args[3];
		else
			*length = ea_read_option(record, call, data);
		break;
	case EA_OTHER_TABLE:
		record->args[0] = call->nr;
		break;
	case EA_SECCOMP: /* by the numbers of prctl(): 1 strict, 2 a filter */
		record->args[1] = (u32)call->args[0] + 1;
		/* fall through */
	case EA_PRCTL:
		program_at = call->args[2];
		break;
	case EA_EPOLL_CTL:
		if ((u32)call->args[1] != EA_EPOLL_CTL_DEL)
			ea_read_user(record, &record->args[3], sizeof(u32), call->args[3]);
		count = ea_counters_of(record->run);
		if (count && record->ret == 0 && (u32)call->args[1] == EA_EPOLL_CTL_ADD)
			count->registrations++;
		break;
	case EA_EPOLL_CREATE:
	case EA_EPOLL_CREATE1:
		target = ea_current_target();
		if (record->ret >= 0 && target)
			__sync_fetch_and_add(&target->epolls, 1);
		break;
	case EA_CLOSE:
		place = record->tid % EA_THREAD_PLACES;
		closes = closing.lookup(&place);
		if (closes && closes->tid == record->tid) {
			record->ts_ns = closes->began_ns;
			closes->tid = 0;
		}
		break;
	case EA_SOCKETPAIR:
		if (record->ret == 0)
			ea_read_user(record, &record->args[4], 2 * sizeof(u32), call->args[3]);
		break;
	case EA_SENDMSG:
	case EA_SENDMMSG:
	case EA_RECVMSG:
	case EA_RECVMMSG:
		*length = ea_read_rights(record, call, data);
		return record->args[1];
	case EA_UNLINK:
	case EA_CHMOD:
		path_at = call->args[0];
		break;
	case EA_UNLINKAT:
	case EA_FCHMODAT:
		path_at = call->args[1];
		break;
	case EA_FILE_RENAME:
		path_at = call->args[0];
		second_at = call->args[1];
		record->args[0] = record->args[1] = EA_AT_FDCWD;
		record->args[2] = 0;
		break;
	case EA_RENAMEAT2:
		record->args[3] = call->args[4];
		/* fall through */
	case EA_RENAMEAT:
		path_at = call->args[1];
		second_at = call->args[3];
		record->args[1] = call->args[2];
		record->args[2] = record->args[3];
		break;
	}
	if (stack)
		*frames = ea_take_stack(ctx, call, record, data);
	if (address)
		*length = ea_read_address(record, call, data + *frames);
	if (program_at)
		*length = ea_read_program(record, data, program_at);
	if (path_at)
		*length = ea_read_path(record, draft->path, path_at,
				       second_at ? EA_PATH_SIZE / 2 : EA_PATH_SIZE);
	if (second_at && *length)
		*length += ea_read_path(record, draft->path + *length, second_at, EA_PATH_SIZE / 2);
	return true;
}

/*
 * Whether this is the first call of a process by the numbers of a table, or the first that the
 * kernel did not know: what such calls did is not decoded.
 */
static __always_inline bool ea_is_first_of(u32 table, s64 ret)
{
	struct ea_target *target = ea_current_target();
	u32 bit = 1 << (2 * table + (ret == -EA_ENOSYS));

	if (!target || target->tables & bit)
		return false;
	target->tables |= bit;
	return true;
}

/* Whether a call is not to be recorded though others of its number are. */
static __always_inline bool ea_is_idle(u32 kind, const struct ea_call *call)
{
	switch (kind) {
	case 0:
		return true;
	case EA_FCNTL:
		return (u32)call->args[1] != EA_F_DUPFD && (u32)call->args[1] != EA_F_DUPFD_CLOEXEC;
	case EA_PRCTL:
		return (u32)call->args[0] != EA_PR_SET_SECCOMP;
	case EA_SECCOMP:
		return (u32)call->args[0] > EA_SECCOMP_SET_MODE_FILTER;
	}
	return false;
}

/* raw tracepoint: arguments are the saved registers and the return value */
int ea_sys_exit(struct bpf_raw_tracepoint_args *ctx)
{
	u64 pid_tid = bpf_get_current_pid_tgid();
	u32 run = ea_run_of(pid_tid >> 32);
	struct ea_batch *batch;
	struct ea_draft *draft;
	struct ea_call call;
	u64 frames = 0, length = 0;
	s64 ret = ctx->args[1];
	u32 *class;
	u32 nr, table, kind;

	if (!run || !ea_read_call(&call, ctx->args[0]))
		return 0;
	nr = call.nr;
	table = call.odd ? ea_table_of(&call) : EA_NATIVE;
	if (table)
		nr = EA_NR_OTHER_TABLE; /* one name for all of them */
	if (nr >= EA_MAX_SYSCALL)
		return 0;
	class = classes.lookup(&nr);
	if (!class || ea_is_idle(*class, &call))
		return 0;
	kind = *class;
	if (kind == EA_OTHER_TABLE && !ea_is_first_of(table, ret))
		return 0;
	/* Interrupted: the kernel restarts the call, which has another exit, or gives EINTR. */
	if (ret <= -512 && ret >= -516)
		return 0;
	if (kind == EA_OPEN || kind == EA_OPENAT) {
		if (ret >= 0)
			ea_note_open(pid_tid, call.args[kind == EA_OPENAT], ret);
		return 0;
	}
	batch = ea_current_batch();
	if (!batch)
		return 0;
	draft = ea_reserve(batch, run);
	if (draft) {
		ea_begin_of(&draft->record, pid_tid, run, kind, ret);
		draft->record.args[0] = call.args[0];
		draft->record.args[1] = call.args[1];
		draft->record.args[2] = call.args[2];
		/* Here, not in ea_describe(): there the verifier would take twice the time. */
		if (kind == EA_SETNS)
			ea_commit(batch, draft, 0,
				  ea_read_opened(&draft->record, (u8 *)draft->frames));
		else if (ea_describe(ctx, &call, draft, &frames, &length) &&
			 ea_commit(batch, draft, frames, length) && frames)
			ea_remember_stack(draft->record.stack);
	}
	ea_release(batch);
	return 0;
}

#endif
