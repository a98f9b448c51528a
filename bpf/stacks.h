/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User stacks. Envoy keeps frame pointers, so walking is cheap; finding the build id of every
 * frame is not. So a stack is named by a hash of its addresses, and its frames are sent once per
 * process and name, inside the first record that has it.
 */
#ifndef EA_STACKS_H
#define EA_STACKS_H

BPF_TABLE("lru_hash", struct ea_stack_key, u8, known_stacks, 16384);

/* Most of Envoy's stacks fit; more costs more than it saves. */
#define EA_WINDOW_SIZE 4096

struct ea_window {
	char bytes[EA_WINDOW_SIZE];
} __attribute__((aligned(8)));

BPF_PERCPU_ARRAY(windows, struct ea_window, 1);

static __always_inline u64 ea_mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15ULL;
	return hash ^ hash >> 32;
}

/*
 * Hash the return addresses along the chain of frame pointers. Most of the chain lies in the first
 * bytes of the stack, which are read at once.
 */
static __always_inline u64 ea_stack_name(const struct ea_call *call)
{
	u32 zero = 0;
	struct ea_window *window = windows.lookup(&zero);
	u64 hash = 0xcbf29ce484222325ULL;
	u64 fp = call->fp;
	u64 frame[2]; /* the caller's frame pointer and the return address */
	bool seen; /* false close to the end of the stack: then frame by frame */
	int i;

	if (!window)
		return 0;
	seen = !ea_probe_user(window, EA_WINDOW_SIZE, (void *)call->sp);
	hash = ea_mix(hash, call->ip);
#pragma clang loop unroll(disable)
	for (i = 1; i < EA_FRAME_COUNT; i++) {
		u64 offset = fp - call->sp;

		if (seen && offset <= EA_WINDOW_SIZE - sizeof(frame)) {
			frame[0] = *(u64 *)&window->bytes[offset];
			frame[1] = *(u64 *)&window->bytes[offset + 8];
		} else if (ea_probe_user(frame, sizeof(frame), (void *)fp)) {
			break;
		}
		hash = ea_mix(hash, frame[1]);
		if (frame[0] <= fp)
			break;
		fp = frame[0];
	}
	return hash ? hash : 1;
}

/*
 * Name the user stack and put its frames into the draft unless they were sent before. Return the
 * frames' size in bytes. `key` is to be remembered once the record is in the ring.
 */
static __always_inline u64 ea_take_stack(void *ctx, const struct ea_call *call,
					 struct ea_draft *draft, struct ea_stack_key *key)
{
	u64 size;

	key->run = draft->record.run;
	key->pid = draft->record.pid;
	key->hash = ea_stack_name(call);
	draft->record.stack = key->hash;
	if (!key->hash || known_stacks.lookup(key))
		return 0;
	size = bpf_get_stack(ctx, draft->frames, sizeof(draft->frames),
			     BPF_F_USER_STACK | BPF_F_USER_BUILD_ID);
	EA_OPAQUE(size);
	return size <= sizeof(draft->frames) ? size : 0;
}

static __always_inline void ea_remember_stack(struct ea_stack_key *key)
{
	u8 known = 1;

	known_stacks.update(key, &known);
}

#endif
