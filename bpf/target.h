/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose events: a process belongs to a run from the exec that carried the run id in its
 * environment, and so do its children.
 *
 * A run has a slot (index of its counters) and a serial number that is never used again; the slot
 * is the number's low bits. A mark left over from a run that ended is recognised by its number.
 *
 * `marks` answers the question that is asked at every system call of the machine, without a call
 * into the kernel; `targets` holds the rest.
 */
#ifndef EA_TARGET_H
#define EA_TARGET_H

#define EA_SLOTS 256
#define EA_ARMED EA_SLOTS
#define EA_ARMED_BY_ID (EA_SLOTS + 1)
#define EA_SLOT(run) ((run) & (EA_SLOTS - 1))

BPF_HASH(runs, struct ea_run_id, u32, EA_SLOTS);
/* The serial number per slot, then how many are armed, and how many of these by a run id. */
BPF_ARRAY(armed, u32, EA_SLOTS + 2);
BPF_HASH(targets, u32, struct ea_target, 16384);
/* Per process id the low 16 bits of the run's number; user space makes it as long as ids need. */
BPF_ARRAY(marks, u64, 1);

static __always_inline bool ea_any(u32 which)
{
	u32 *count = armed.lookup(&which);

	return count && *count;
}

/* Remember that a process belongs to a run; false if there is no room. */
static __always_inline bool ea_mark(u32 pid, struct ea_target *target)
{
	u32 word = pid / 4;
	u64 *quarter = marks.lookup(&word);

	if (!quarter || targets.update(&pid, target))
		return false;
	((u16 *)quarter)[pid & 3] = target->run;
	return true;
}

/* Forget a process; false if another thread did. */
static __always_inline bool ea_unmark(u32 pid)
{
	u32 word = pid / 4;
	u64 *quarter = marks.lookup(&word);

	if (targets.delete(&pid))
		return false;
	if (quarter)
		((u16 *)quarter)[pid & 3] = 0;
	return true;
}

/* Return the number of the armed run that a process belongs to, 0 if there is none. */
static __always_inline u32 ea_run_of(u32 pid)
{
	u32 word = pid / 4;
	u64 *quarter = marks.lookup(&word);
	u32 slot;
	u32 *run;
	u16 mark;

	if (!quarter)
		return 0;
	mark = ((u16 *)quarter)[pid & 3];
	if (!mark)
		return 0;
	slot = EA_SLOT(mark);
	run = armed.lookup(&slot);
	return run && (u16)*run == mark ? *run : 0;
}

static __always_inline u32 ea_current_run(void)
{
	return ea_run_of(bpf_get_current_pid_tgid() >> 32);
}

/* Return the current process's mark, or NULL if it belongs to no armed run. */
static __always_inline struct ea_target *ea_current_target(void)
{
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	u32 run = ea_run_of(pid);
	struct ea_target *target;

	if (!run)
		return 0;
	target = targets.lookup(&pid);
	return target && target->run == run ? target : 0;
}

#endif
