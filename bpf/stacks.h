/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User stacks. Envoy keeps frame pointers, so walking is cheap; finding the build id of every
 * frame is not. So a stack is named by a hash of its addresses, and its frames are sent once per
 * process and name, inside the first record that has it.
 *
 * Deeper stacks and a larger window cost more than they are worth: the kernel's copy of the
 * caller's stack pushes Envoy's own data out of the processor's first cache.
 */
#ifndef EA_STACKS_H
#define EA_STACKS_H

#define EA_KNOWN_STACKS 4096
#define EA_WINDOW_SIZE 1024
#define EA_KNOWN_BLOCKING 256
#define EA_SOCK_NONBLOCK 04000

struct ea_window {
	char bytes[EA_WINDOW_SIZE];
} __attribute__((aligned(8)));

/* A name at its place was sent. One that takes the place of another is sent again: harmless. */
BPF_ARRAY(known_stacks, u64, EA_KNOWN_STACKS);

struct ea_blocking {
	u64 key;
	u64 name;
};

BPF_PERCPU_ARRAY(known_blocking, struct ea_blocking, EA_KNOWN_BLOCKING);
BPF_PERCPU_ARRAY(windows, struct ea_window, 1);

static __always_inline u64 ea_mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/*
 * Hash the return addresses along the chain of frame pointers. The stack is read by the window,
 * which holds several frames.
 */
static __always_inline u64 ea_stack_name(const struct ea_call *call, u32 run, u32 pid)
{
	u32 zero = 0;
	struct ea_window *window = windows.lookup(&zero);
	u64 hash = ea_mix(call->ip, (u64)run << 32 | pid);
	u64 fp = call->fp;
	u64 start = fp;
	u64 frame[2]; /* the caller's frame pointer and the return address */
	bool filled;
	int i;

	if (!window)
		return 0;
	filled = !ea_probe_user(window, EA_WINDOW_SIZE, (void *)start);
#pragma clang loop unroll(disable)
	for (i = 1; i < EA_FRAME_COUNT; i++) {
		u64 offset = fp - start;

		if (filled && offset > EA_WINDOW_SIZE - sizeof(frame)) {
			start = fp;
			offset = 0;
			filled = !ea_probe_user(window, EA_WINDOW_SIZE, (void *)start);
		}
		if (filled && offset <= EA_WINDOW_SIZE - sizeof(frame)) {
			frame[0] = *(u64 *)&window->bytes[offset];
			frame[1] = *(u64 *)&window->bytes[offset + 8];
		} else if (ea_probe_user(frame, sizeof(frame), (void *)fp)) {
			break; /* close to the end of the stack the window does not fit */
		}
		hash = ea_mix(hash, frame[1]);
		if (frame[0] <= fp)
			break;
		fp = frame[0];
	}
	return hash ? hash : 1;
}

/*
 * Where the name of a blocking socket's stack is kept. Envoy makes several of them for each
 * listener, in one and the same place, to learn whether an address family works, and closes them
 * unused; walking to their callers, which are far away, took a fifth of all the time of the probe.
 * So such a stack is walked once for each place in the code and on the stack, and named the same
 * from then on: a caller further out that differs from the first one, with everything between at
 * equal places, is not noticed.
 */
static __always_inline struct ea_blocking *ea_blocking_place(u64 key)
{
	u32 place = key % EA_KNOWN_BLOCKING;

	return known_blocking.lookup(&place);
}

/* Return the name of the user stack. The way there is written once: it is long for the compiler. */
static __always_inline u64 ea_name_stack(const struct ea_call *call, const struct ea_record *record)
{
	struct ea_blocking *blocking = 0;
	u64 key = 0, name;

	if (record->type == EA_SOCKET && !(record->args[1] & EA_SOCK_NONBLOCK)) {
		key = ea_mix(call->ip, (u64)record->run << 32 | record->pid);
		key = ea_mix(ea_mix(key, call->sp), call->fp);
		blocking = ea_blocking_place(key);
		if (blocking && blocking->key == key)
			return blocking->name;
	}
	name = ea_stack_name(call, record->run, record->pid);
	if (blocking) {
		blocking->name = name;
		blocking->key = key;
	}
	return name;
}

/*
 * Name the user stack and put its frames into the draft unless they were sent before. Return the
 * frames' size in bytes.
 */
static __always_inline u64 ea_take_stack(void *ctx, const struct ea_call *call,
					 struct ea_record *record, void *frames)
{
	u64 name = ea_name_stack(call, record);
	u32 place = name % EA_KNOWN_STACKS;
	u64 *known = known_stacks.lookup(&place);
	u64 size;

	record->stack = name;
	if (!name || (known && *known == name))
		return 0;
	size = bpf_get_stack(ctx, frames, EA_FRAME_COUNT * sizeof(struct ea_frame),
			     BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
	EA_OPAQUE(size);
	return size <= EA_FRAME_COUNT * sizeof(struct ea_frame) ? size : 0;
}

/* To be called once the record with the frames is in the ring. */
static __always_inline void ea_remember_stack(u64 name)
{
	u32 place = name % EA_KNOWN_STACKS;

	known_stacks.update(&place, &name);
}

#endif
