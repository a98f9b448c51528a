/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose events: a process belongs to a run from the exec that carried the run id in its
 * environment, and so do its children.
 *
 * A run has a slot (index of its counters) and a serial number that is never used again; the slot
 * is the number's low bits. A mark left over from a run that ended is told by its number.
 */
#ifndef EA_TARGET_H
#define EA_TARGET_H

#define EA_SLOTS 64
#define EA_SLOT(run) ((run) & (EA_SLOTS - 1))

BPF_HASH(runs, struct ea_run_id, u32, EA_SLOTS);
BPF_ARRAY(armed, u32, EA_SLOTS + 1); /* serial number per slot; the last one: how many are armed */
BPF_HASH(targets, u32, struct ea_target, 16384);

static __always_inline bool ea_any_armed(void)
{
	u32 last = EA_SLOTS;
	u32 *count = armed.lookup(&last);

	return count && *count;
}

/* Return the current process's mark, or NULL if it belongs to no armed run. */
static __always_inline struct ea_target *ea_current_target(void)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct ea_target *target = targets.lookup(&pid);
	u32 slot;
	u32 *run;

	if (!target)
		return 0;
	slot = EA_SLOT(target->run);
	run = armed.lookup(&slot);
	return run && *run == target->run ? target : 0;
}

#endif
