/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose events, where something else starts the process: what it is at its exec is compared with
 * the armed selections, and the first that it matches gives it a spare run.
 *
 * Most processes fail the first comparison, which has no branches: the verifier walks each.
 */
#ifndef EA_SELECT_H
#define EA_SELECT_H

#define EA_SELECTIONS 8
#define EA_VARIABLES 32 /* their bits are the low ones, those of executables the high ones */
#define EA_PATH_MAX 4096
#define EA_MAX_ENVIRONMENT 512 /* variables that are looked at */

struct ea_text {
	char bytes[EA_TEXT_SIZE];
} __attribute__((aligned(8)));

/* Declared as characters, see ea_draft_room. */
struct ea_selection_room {
	char bytes[sizeof(struct ea_selection)];
} __attribute__((aligned(8)));

struct ea_scratch {
	char text[EA_TEXT_SIZE];
	char zeros[EA_TEXT_SIZE];
	u64 passed;                 /* see ea_forget() */
	char path[EA_PATH_MAX + 8]; /* a slash, then the path */
} __attribute__((aligned(8)));

BPF_ARRAY(selections, struct ea_selection_room, EA_SELECTIONS);
BPF_HASH(texts, struct ea_text, u64, EA_VARIABLES + EA_SELECTIONS); /* the bits of each */
BPF_QUEUE(spare, u32, EA_SLOTS); /* serial numbers of armed runs */
BPF_PERCPU_ARRAY(scratches, struct ea_scratch, 1);

/*
 * Return a value of which the verifier then knows nothing: it walks the loops behind this once, and
 * not once for each way that leads here.
 */
static __always_inline u64 ea_forget(struct ea_scratch *scratch, u64 value)
{
	volatile u64 *passed = &scratch->passed;

	*passed = value;
	return *passed;
}

/* Which selections are worth a second look: a bit for each. */
static __always_inline u32 ea_candidates(u32 *needed)
{
	u64 comm[2];
	u32 uid = bpf_get_current_uid_gid(); /* the real one, in the first user namespace */
	u32 found = 0, number;

	bpf_get_current_comm(comm, sizeof(comm));
#pragma clang loop unroll(disable)
	for (number = 0; number < EA_SELECTIONS; number++) {
		u32 at = number;
		struct ea_selection *one = (struct ea_selection *)selections.lookup(&at);
		u64 differs;

		if (!one)
			break;
		differs = ((comm[0] ^ one->comm[0]) & one->comm_mask[0]) |
			  ((comm[1] ^ one->comm[1]) & one->comm_mask[1]) |
			  ((uid ^ one->uid) & one->uid_mask) | (one->armed ^ 1);
		/* 1 if it is zero */
		differs = ~(differs | -differs) >> 63;
		EA_OPAQUE(differs);
		found |= (u32)differs << number;
		*needed |= one->variables & -(u32)differs;
	}
	return found;
}

static __always_inline void ea_clear_text(struct ea_scratch *scratch)
{
	/* A call, because the verifier walks every instruction of every round. */
	ea_probe_kernel(scratch->text, sizeof(scratch->text), scratch->zeros);
}

/* Find the bits of the variables that selections ask for; false if some could not be read. */
static __always_inline bool ea_find_variables(u64 at, struct ea_scratch *scratch, u64 *found)
{
	u64 pointer, bits;
	int i;

#pragma clang loop unroll(disable)
	for (i = 0; i < EA_MAX_ENVIRONMENT; i++) {
		if (ea_probe_user(&pointer, sizeof(pointer), (void *)at))
			return false;
		if (!pointer)
			return true;
		at += sizeof(pointer);
		ea_clear_text(scratch);
		ea_probe_user_text(scratch->text, sizeof(scratch->text), (void *)pointer);
		/* Zero if there is none: a branch would double what the verifier walks. */
		ea_probe_kernel(&bits, sizeof(bits), texts.lookup((struct ea_text *)scratch->text));
		*found |= bits;
	}
	return false;
}

/* Whether a path of so many bytes, which lies in the scratch, is the executable that is meant. */
static __always_inline bool ea_is_executable(struct ea_selection *one, u32 number,
					     struct ea_scratch *scratch, u64 length)
{
	u64 size = one->exe_size;
	u64 *bits;

	if (!size)
		return true;
	/* The slash before the path makes a path that is a name alone end like all others. */
	if (size >= EA_TEXT_SIZE || size > length + 1 || (one->is_path && size != length))
		return false;
	ea_clear_text(scratch);
	ea_probe_kernel(scratch->text, size, scratch->path + length + 1 - size);
	bits = texts.lookup((struct ea_text *)scratch->text);
	return bits && *bits >> EA_VARIABLES >> number & 1;
}

static __always_inline u32 ea_take_spare(struct ea_selection *one, u32 number)
{
	struct ea_counters *count;
	u32 run = 0, slot;
	u64 *left;

	if (spare.pop(&run) || !run) {
		__sync_fetch_and_add(&one->missed, 1);
		return 0;
	}
	slot = EA_SLOT(run);
	left = room.lookup(&slot);
	if (left)
		*left = one->records;
	count = ea_counters_of(run);
	if (count) {
		count->selection = number + 1;
		count->marked++;
	}
	__sync_fetch_and_add(&one->taken, 1);
	return run;
}

/*
 * Return the run of a process that one of the candidates means, 0 if none does.
 *
 * variables_at is where the pointers to the variables begin, filename the address of the path.
 */
static __always_inline u32 ea_select(struct ea_scratch *scratch, u32 candidates, u32 needed,
				     u64 variables_at, u64 filename)
{
	u32 number;
	u64 found = ea_forget(scratch, 0);
	s64 length = 0;
	bool whole = true, readable, holds;

	if (needed)
		whole = ea_find_variables(variables_at, scratch, &found);
	scratch->path[0] = '/';
	if (filename)
		length = ea_probe_user_text(scratch->path + 1, EA_PATH_MAX, (void *)filename);
	/* without the zero at its end */
	length = length > 0 ? length - 1 : 0;
#pragma clang loop unroll(disable)
	for (number = 0; number < EA_SELECTIONS; number++) {
		u32 at = number;
		struct ea_selection *one = (struct ea_selection *)selections.lookup(&at);

		if (!one)
			break;
		if (!(candidates >> number & 1))
			continue;
		if (one->cgroup && ea_ancestor_cgroup(one->cgroup_level) != one->cgroup)
			continue;
		readable = length || !one->exe_size;
		if (readable && !ea_is_executable(one, number, scratch, length))
			continue;
		holds = (found & one->variables) == one->variables;
		if (readable && holds)
			return ea_take_spare(one, number);
		if (holds || !whole)
			__sync_fetch_and_add(&one->missed, 1);
	}
	return 0;
}

#endif
