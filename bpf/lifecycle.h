/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel reports about processes and threads, and the first wait on an epoll instance.
 *
 * The few members of the kernel's structures that are read here are at the offsets that the running
 * kernel publishes (BTF), as fields of named tracepoints are (tracefs). User space passes both as
 * EA_AT_<structure or tracepoint>_<member>.
 */
#ifndef EA_LIFECYCLE_H
#define EA_LIFECYCLE_H

#define EA_FIELD(type, context, offset) (*(type *)((u8 *)(context) + (offset)))

#define EA_AT_ONCE 4 /* the verifier is slow with loops of many rounds */
#define EA_MAX_AUXV 40
#define EA_AT_EXECFN 31
#define EA_CLONE_FILES 0x400
#define EA_CLONE_THREAD 0x10000

/* "ENVOYASSERT_RUN=" as two little-endian words */
#define EA_VARIABLE_HEAD 0x535341594f564e45ULL
#define EA_VARIABLE_TAIL 0x3d4e55525f545245ULL

BPF_TABLE("lru_hash", struct ea_wait_key, u64, waits, 16384);

/*
 * The stack of a new image: argc, argv[], NULL, envp[], NULL, auxv[]; the strings of argv lie in
 * one block that ends where those of envp begin.
 */
struct ea_image {
	u64 argc;
	u64 argv; /* address of the first argument's text */
	u64 envp; /* address of the first variable's text */
	u64 next; /* address of the pointer after the one that was read last */
};

/* Look for the run id among the variables; return the armed run's number or 0. */
static __always_inline u32 ea_find_run(struct ea_image *image)
{
	u64 at = image->next;
	u64 variables[EA_AT_ONCE];
	u64 text[4]; /* 16 bytes of name and sign, 16 of run id */
	u64 differs;
	struct ea_run_id id;
	u32 *run;
	int i, j;

#pragma clang loop unroll(disable)
	for (i = 0; i < EA_MAX_ENVIRONMENT / EA_AT_ONCE; i++) {
		/* Behind the last variable is auxv[]: there is more than enough to read. */
		if (ea_probe_user(variables, sizeof(variables), (void *)at))
			return 0;
#pragma unroll
		for (j = 0; j < EA_AT_ONCE; j++) {
			if (!variables[j])
				return 0;
			at += sizeof(u64);
			/* Zeros where it cannot be read. One branch: the verifier walks each. */
			ea_probe_user(text, sizeof(text), (void *)variables[j]);
			differs = (text[0] ^ EA_VARIABLE_HEAD) | (text[1] ^ EA_VARIABLE_TAIL);
			EA_OPAQUE(differs);
			if (!differs)
				goto found;
		}
	}
	return 0;
found:
	image->next = at;
	id.head = text[2];
	id.tail = text[3];
	run = runs.lookup(&id);
	return run ? *run : 0;
}

/* Return the address of the text that was passed to execve, or 0. */
static __always_inline u64 ea_find_filename(u64 at)
{
	u64 pair[2];
	u64 pointer;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < EA_MAX_ENVIRONMENT; i++) {
		if (ea_probe_user(&pointer, sizeof(pointer), (void *)at))
			return 0;
		at += sizeof(pointer);
		if (!pointer)
			break;
	}
#pragma clang loop unroll(disable)
	for (i = 0; i < EA_MAX_AUXV; i++) {
		if (ea_probe_user(pair, sizeof(pair), (void *)at) || !pair[0])
			return 0;
		if (pair[0] == EA_AT_EXECFN)
			return pair[1];
		at += sizeof(pair);
	}
	return 0;
}

static __always_inline void ea_record_exec(u32 run, const struct ea_image *image, u64 filename)
{
	struct ea_draft *draft = ea_begin(EA_DRAFT_EXEC, run, EA_EXEC, 0);
	u64 size = image->envp - image->argv;

	if (!draft)
		return;
	bpf_get_current_comm(draft->exec.comm, sizeof(draft->exec.comm));
	draft->record.args[0] = image->argc;
	draft->exec.filename[0] = 0;
	if (!filename || ea_probe_user_text(draft->exec.filename, sizeof(draft->exec.filename),
					    (void *)filename) < 0)
		draft->record.flags |= EA_FAULT;
	if (size > sizeof(draft->exec.argv)) {
		size = sizeof(draft->exec.argv);
		draft->record.flags |= EA_TRUNCATED;
	}
	if (!ea_read_user(&draft->record, draft->exec.argv, size, image->argv))
		size = 0;
	ea_end(draft, sizeof(draft->exec) - sizeof(draft->exec.argv) + size);
}

/* Find what lies on the stack of the new image; false if that cannot be read. */
static __always_inline bool ea_find_image(struct ea_image *image)
{
	u64 regs = ea_current_registers();
	u64 sp = 0;

	if (ea_probe_kernel(&sp, sizeof(sp), (void *)(regs + EA_USER_SP)))
		return false;
	ea_probe_user(&image->argc, sizeof(image->argc), (void *)sp);
	ea_probe_user(&image->argv, sizeof(image->argv), (void *)(sp + 8));
	image->next = sp + 8 * (image->argc + 2);
	ea_probe_user(&image->envp, sizeof(image->envp), (void *)image->next);
	return true;
}

/* The current process, which has just executed a program, belongs to a run from now on. */
static __always_inline void ea_begin_image(u64 run, u32 epolls, const struct ea_image *image,
					   u64 filename)
{
	struct ea_target target = {.run = run, .epolls = epolls, .started = 1};

	if (!ea_mark(bpf_get_current_pid_tgid() >> 32, &target))
		ea_lose(run);
	ea_record_exec(run, image, filename);
}

/* raw tracepoint: the new image is in place, its stack holds arguments and environment */
int ea_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0;
	struct ea_scratch *scratch = scratches.lookup(&zero);
	struct ea_target *old;
	struct ea_image image = {};
	struct ea_counters *count;
	u64 run = 0, epolls = 0, variables_at;

	if (!ea_any(EA_ARMED) || !scratch)
		return 0;
	old = ea_current_target();
	if (old) {
		run = old->run;
		epolls = old->epolls + 1;
	}
	if (!run && !ea_any(EA_ARMED_BY_ID))
		return 0;
	if (!ea_find_image(&image))
		return 0;
	run = ea_forget(scratch, run);
	epolls = ea_forget(scratch, epolls);
	variables_at = image.next;
	/* Reading all variables takes most of the time that an exec loses. */
	if (ea_any(EA_ARMED_BY_ID)) {
		u32 named = ea_find_run(&image);

		if (named) {
			run = named;
			count = ea_counters_of(run);
			if (count)
				count->marked++;
		} else {
			image.next = variables_at;
		}
	}
	if (!run)
		return 0;
	run = ea_forget(scratch, run);
	image.next = ea_forget(scratch, image.next);
	ea_begin_image(run, epolls, &image, ea_find_filename(image.next));
	return 0;
}

/*
 * The same tracepoint, behind the program above: a process that belongs to no run may get one by a
 * selection. It is loaded where there are any: the verifier takes longest for it.
 */
int ea_process_select(struct bpf_raw_tracepoint_args *ctx)
{
	u32 zero = 0, needed = 0;
	struct ea_scratch *scratch = scratches.lookup(&zero);
	struct ea_image image = {};
	u64 run, candidates, filename;

	if (!ea_any(EA_ARMED) || !scratch || ea_current_run())
		return 0;
	candidates = ea_candidates(&needed);
	if (!candidates || !ea_find_image(&image))
		return 0;
	candidates = ea_forget(scratch, candidates);
	filename = ea_forget(scratch, ea_find_filename(image.next));
	run = ea_select(scratch, candidates, needed, image.next, filename);
	if (run)
		ea_begin_image(run, 0, &image, filename);
	return 0;
}

/* What the task that current is making shares with it: the flags of its clone call. */
static __always_inline u64 ea_clone_flags(void)
{
	struct ea_call call;
	/* made by another call: a worker of the kernel's own */
	u64 flags = EA_CLONE_THREAD | EA_CLONE_FILES;

	if (!ea_read_call(&call, ea_current_registers()) || (call.odd && ea_table_of(&call)))
		return flags;
	if (call.nr == EA_NR_CLONE)
		flags = call.args[0];
	else if (call.nr == EA_NR_CLONE3)
		ea_probe_user(&flags, sizeof(flags), (void *)call.args[0]);
	else if (call.nr == EA_NR_FORK || call.nr == EA_NR_VFORK)
		flags = 0;
	return flags;
}

/* Return the id of a task of the kernel, 0 if it cannot be read. */
static __always_inline u32 ea_tid_of(u64 task)
{
	u32 tid = 0;

	ea_probe_kernel(&tid, sizeof(tid), (void *)(task + EA_AT_TASK_PID));
	return tid;
}

/* raw sched_process_fork: parent and child, which does not run yet */
int ea_process_fork(struct bpf_raw_tracepoint_args *ctx)
{
	struct ea_target *parent = ea_current_target();
	struct ea_draft *draft;
	u64 flags;
	u32 child;
	bool thread;

	if (!parent)
		return 0;
	child = ea_tid_of(ctx->args[1]);
	flags = ea_clone_flags();
	thread = flags & EA_CLONE_THREAD;
	if (thread) {
		__sync_fetch_and_add(&parent->started, 1);
	} else {
		struct ea_target target = {.run = parent->run, .started = 1};

		if (!ea_mark(child, &target))
			ea_lose(parent->run);
	}
	draft = ea_begin(EA_DRAFT_FORK, parent->run, EA_FORK, 0);
	if (!draft)
		return 0;
	draft->record.args[0] = thread ? draft->record.pid : child;
	draft->record.args[1] = child;
	draft->record.args[2] = thread;
	draft->record.args[3] = (flags & EA_CLONE_FILES) != 0;
	ea_end(draft, 0);
	return 0;
}

/* raw tracepoint, once per thread */
int ea_process_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct ea_target *target = ea_current_target();
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct ea_call call = {};
	struct ea_draft *draft;
	bool last = false, read;
	u32 run;

	if (!target)
		return 0;
	run = target->run;
	__sync_fetch_and_add(&target->exited, 1);
	/* Threads may end at the same time: the one that removes the mark is the last. */
	if (target->exited == target->started)
		last = ea_unmark(pid);
	read = ea_read_call(&call, ea_current_registers()) && !(call.odd && ea_table_of(&call));
	draft = ea_begin(EA_DRAFT_EXIT, run, EA_EXIT, 0);
	if (!draft)
		return 0;
	if (read && (call.nr == EA_NR_EXIT_GROUP || call.nr == EA_NR_EXIT)) {
		draft->record.args[0] = 1;
		draft->record.args[1] = (u8)call.args[0];
	}
	draft->record.args[2] = last;
	ea_end(draft, 0);
	return 0;
}

/*
 * raw signal_deliver: number, information, action. The kernel turns a fatal signal that dumps no
 * core into SIGKILL before it delivers it; SIGTERM without a handler is recorded as SIGKILL.
 */
int ea_signal_deliver(struct bpf_raw_tracepoint_args *ctx)
{
	u32 run = ea_current_run();
	u64 at = ctx->args[2] + EA_AT_SIGNAL_ACTION + EA_AT_ACTION_HANDLER;
	struct ea_draft *draft;
	u64 handler = 0;

	if (!run)
		return 0;
	ea_probe_kernel(&handler, sizeof(handler), (void *)at);
	if (handler)
		return 0;
	draft = ea_begin(EA_DRAFT_SIGNAL, run, EA_SIGNAL, 0);
	if (!draft)
		return 0;
	draft->record.args[0] = ctx->args[0];
	ea_end(draft, 0);
	return 0;
}

/* raw task_rename: a task and its new name, which current gives to it, or to itself */
int ea_task_rename(struct bpf_raw_tracepoint_args *ctx)
{
	u32 run = ea_current_run();
	struct ea_draft *draft;

	if (!run)
		return 0;
	draft = ea_begin(EA_DRAFT_RENAME, run, EA_RENAME, 0);
	if (!draft)
		return 0;
	draft->record.args[0] = ea_tid_of(ctx->args[0]);
	__builtin_memset(draft->frames, 0, EA_COMM_SIZE);
	ea_probe_kernel_text(draft->frames, EA_COMM_SIZE, (void *)ctx->args[1]);
	ea_end(draft, EA_COMM_SIZE);
	return 0;
}

/*
 * syscalls:sys_enter_epoll_wait, epoll_pwait and epoll_pwait2: at entry, because a thread may wait
 * for as long as it lives. Once per thread and descriptor, and again after the process has made
 * another epoll instance, which may have got the same number.
 */
int ea_epoll_wait(void *ctx)
{
	struct ea_target *target = ea_current_target();
	struct ea_wait_key key = {};
	struct ea_draft *draft;
	u64 now, *before;

	if (!target)
		return 0;
	key.tid = bpf_get_current_pid_tgid();
	key.epfd = EA_FIELD(u64, ctx, EA_AT_EPOLL_EPFD);
	now = (u64)target->run << 32 | target->epolls;
	before = waits.lookup(&key);
	if (before && *before == now)
		return 0;
	draft = ea_begin(EA_DRAFT_EPOLL, target->run, EA_EPOLL_WAIT, 0);
	if (!draft)
		return 0;
	draft->record.args[0] = key.epfd;
	if (ea_end(draft, 0)) /* otherwise the next wait tries again */
		waits.update(&key, &now);
	return 0;
}

/*
 * Write the batch of the CPU that this runs on: user space runs it on each of them before it reads
 * the ring (BPF_PROG_TEST_RUN of bpf(2)). Returns 1, and wrote nothing, if it interrupted a program
 * that was changing the batch: itself too, for on the CPU of its caller it does not run from an
 * interrupt, and other workers may ask for the same.
 */
int ea_flush(struct bpf_raw_tracepoint_args *ctx)
{
	struct ea_batch *batch = ea_current_batch();

	if (!batch)
		return 0;
	if (batch->busy)
		return 1;
	batch->busy = 1;
	EA_BARRIER();
	if (batch->used)
		ea_write_batch(batch);
	ea_release(batch);
	return 0;
}

#endif
