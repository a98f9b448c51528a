/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing records. The only place where a loss is counted.
 *
 * The number of a record is taken before the ring is asked for room, so that a loss is a gap in
 * the numbers and emitted - dropped is exactly what user space will read.
 */
#ifndef EA_EMIT_H
#define EA_EMIT_H

/*
 * Make the compiler forget what it knows about a value: it would drop the bound check that follows,
 * which the verifier needs.
 */
#define EA_OPAQUE(value) asm volatile("" : "+r"(value))

/* Each program has a draft of its own: one may interrupt another. */
enum ea_draft_owner {
	EA_DRAFT_SYSCALL,
	EA_DRAFT_EXEC,
	EA_DRAFT_FORK,
	EA_DRAFT_EXIT,
	EA_DRAFT_SIGNAL,
	EA_DRAFT_RENAME,
	EA_DRAFT_TCP,
	EA_DRAFT_EPOLL,
	EA_DRAFTS
};

BPF_RINGBUF_OUTPUT(records, EA_RING_PAGES);
BPF_PERCPU_ARRAY(counters, struct ea_counters, EA_SLOTS);
/* Declared as characters: bcc generates code to print and parse every member of a map's type. */
struct ea_draft_room {
	char bytes[sizeof(struct ea_draft)];
} __attribute__((aligned(8)));

BPF_PERCPU_ARRAY(drafts, struct ea_draft_room, EA_DRAFTS);

static __always_inline struct ea_counters *ea_counters_of(u32 run)
{
	u32 slot = EA_SLOT(run);

	return counters.lookup(&slot);
}

/* Count a process that could not be marked: nothing of it will be recorded. */
static __always_inline void ea_lose(u32 run)
{
	struct ea_counters *count = ea_counters_of(run);

	if (count) {
		count->emitted++;
		count->dropped++;
		count->unmarked++;
	}
}

/*
 * Begin a record of the thread that bpf_get_current_pid_tgid() names. Its time is that of its end,
 * unless it is given one before.
 */
static __always_inline struct ea_draft *ea_begin_of(u64 pid_tid, u32 owner, u32 run, u8 type,
						    s64 ret)
{
	struct ea_draft *draft = (struct ea_draft *)drafts.lookup(&owner);
	struct ea_record *record;

	if (!draft)
		return 0;
	record = &draft->record;
	record->ret = ret;
	record->ts_ns = 0;
	record->stack = 0;
	record->run = run;
	record->pid = pid_tid >> 32;
	record->tid = pid_tid;
	record->cpu = bpf_get_smp_processor_id();
	record->type = type;
	record->flags = 0;
	record->frames = 0;
	record->args[0] = record->args[1] = record->args[2] = 0;
	record->args[3] = record->args[4] = record->args[5] = 0;
	return draft;
}

static __always_inline struct ea_draft *ea_begin(u32 owner, u32 run, u8 type, s64 ret)
{
	return ea_begin_of(bpf_get_current_pid_tgid(), owner, run, type, ret);
}

/*
 * Write a record that ends with `frames` bytes of frames and `length` bytes of payload. The reader
 * is not woken: it reads when the burst is over. Return whether there was room.
 */
static __always_inline bool ea_end(struct ea_draft *draft, u64 frames, u64 length)
{
	struct ea_counters *count = ea_counters_of(draft->record.run);
	u64 size = sizeof(draft->record) + frames + length;

	if (!count)
		return false;
	if (!draft->record.ts_ns)
		draft->record.ts_ns = bpf_ktime_get_ns();
	draft->record.frames = frames / sizeof(struct ea_frame);
	draft->record.length = length;
	draft->record.seq = ++count->emitted;
	EA_OPAQUE(size);
	if (size > sizeof(*draft) || records.ringbuf_output(draft, size, BPF_RB_NO_WAKEUP)) {
		count->dropped++;
		return false;
	}
	return true;
}

/* Read user memory; a failure is noted in the record and never loses it. */
static __always_inline bool ea_read_user(struct ea_record *record, void *to, u64 size, u64 from)
{
	if (!ea_probe_user(to, size, (void *)from))
		return true;
	record->flags |= EA_FAULT;
	return false;
}

#endif
