/* SPDX-License-Identifier: Apache-2.0 */
/*
 * User stacks. Envoy keeps frame pointers, so walking is cheap; finding the build id of every
 * frame is not. So a stack is named by a hash of its addresses, and its frames are sent once per
 * process and name, inside the first record that has it.
 */
#ifndef EA_STACKS_H
#define EA_STACKS_H

BPF_TABLE("lru_hash", struct ea_stack_key, u8, known_stacks, 16384);

static __always_inline u64 ea_stack_name(void *ctx, u32 image)
{
	u64 addresses[EA_FRAME_COUNT];
	u64 hash = 0xcbf29ce484222325ULL + image;
	int i;

	if (bpf_get_stack(ctx, addresses, sizeof(addresses), BPF_F_USER_STACK) < 0)
		return 0;
#pragma unroll
	for (i = 0; i < EA_FRAME_COUNT; i++) {
		hash = (hash ^ addresses[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash ? hash : 1;
}

/*
 * Name the user stack and put its frames into the draft unless they were sent before. Return the
 * frames' size in bytes. `key` is to be remembered once the record is in the ring.
 */
static __always_inline u64 ea_take_stack(void *ctx, struct ea_draft *draft, u32 image,
					 struct ea_stack_key *key)
{
	u64 size;

	key->pid = draft->record.pid;
	key->hash = ea_stack_name(ctx, image);
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
