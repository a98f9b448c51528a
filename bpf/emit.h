/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing records. The only place where a loss is counted.
 *
 * The number of a record is taken before the ring is asked for room, so that a loss is a gap in
 * the numbers and emitted - dropped is exactly what user space will read, once it had the batches
 * written.
 */
#ifndef EA_EMIT_H
#define EA_EMIT_H

/*
 * Make the compiler forget what it knows about a value: it would drop the bound check that follows,
 * which the verifier needs.
 */
#define EA_OPAQUE(value) asm volatile("" : "+r"(value))

/* Each program but that of system calls has a draft of its own: one may interrupt another. */
enum ea_draft_owner {
	EA_DRAFT_EXEC,
	EA_DRAFT_FORK,
	EA_DRAFT_EXIT,
	EA_DRAFT_SIGNAL,
	EA_DRAFT_RENAME,
	EA_DRAFT_TCP,
	EA_DRAFT_EPOLL,
	EA_DRAFTS
};

/*
 * Several processes of a session may use one program. Each has a ring and some of the slots. The
 * first one's ring is `records`; user space makes all of them larger.
 */
#define EA_READERS 16

BPF_RINGBUF_OUTPUT(records, 1);
BPF_ARRAY_OF_MAPS(rings, "records", EA_READERS);
BPF_ARRAY(readers, u32, EA_SLOTS); /* which of them a run belongs to */
BPF_PERCPU_ARRAY(counters, struct ea_counters, EA_SLOTS);
BPF_ARRAY(room, u64, EA_SLOTS); /* records that a run may still have, or EA_UNLIMITED */
/* Declared as characters: bcc generates code to print and parse every member of a map's type. */
struct ea_draft_room {
	char bytes[sizeof(struct ea_draft)];
} __attribute__((aligned(8)));

BPF_PERCPU_ARRAY(drafts, struct ea_draft_room, EA_DRAFTS);

/*
 * Records of system calls wait for each other, one batch per CPU, and go into the ring together: a
 * call of the ring's helper costs more than the copy. User space has the batches written before it
 * reads the ring (ea_flush).
 */
struct ea_batch {
	u32 used;    /* bytes; each record takes a multiple of 8 */
	u32 records; /* how many they are, all of one run */
	u32 run;
	u32 busy; /* a program is changing this: not to be written from an interrupt */
	char bytes[EA_BATCH_SIZE + sizeof(struct ea_draft)];
} __attribute__((aligned(8)));

BPF_PERCPU_ARRAY(batches, struct ea_batch, 1);

#define EA_BARRIER() asm volatile("" : : : "memory")

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

static __always_inline struct ea_batch *ea_current_batch(void)
{
	u32 zero = 0;

	return (struct ea_batch *)batches.lookup(&zero);
}

/* Write records of a run into its ring; return whether there was room. */
static __always_inline bool ea_output(u32 run, void *bytes, u64 size)
{
	u32 slot = EA_SLOT(run);
	u32 *reader = readers.lookup(&slot);
	void *ring;

	if (!reader || !*reader)
		return !records.ringbuf_output(bytes, size, BPF_RB_NO_WAKEUP);
	ring = rings.lookup(reader);
	return ring && !ea_ring_output(ring, bytes, size, BPF_RB_NO_WAKEUP);
}

/*
 * Write what waits into the ring; return whether there was room. The caller has marked the batch as
 * busy.
 */
static __always_inline bool ea_write_batch(struct ea_batch *batch)
{
	struct ea_counters *count = ea_counters_of(batch->run);
	u64 size = batch->used;
	void *bytes = batch->bytes;
	bool written = true;

	EA_OPAQUE(size);
	if (size > sizeof(batch->bytes) || !ea_output(batch->run, bytes, size)) {
		if (count)
			count->dropped += batch->records;
		written = false;
	}
	batch->used = 0;
	batch->records = 0;
	return written;
}

/* Make room in the batch of this CPU for a record of the run, and keep interrupts off the batch. */
static __always_inline struct ea_draft *ea_reserve(struct ea_batch *batch, u32 run)
{
	u64 used;

	batch->busy = 1;
	EA_BARRIER();
	if (batch->used && (batch->used > EA_BATCH_SIZE || batch->run != run))
		ea_write_batch(batch);
	batch->run = run;
	used = batch->used;
	EA_OPAQUE(used);
	if (used > EA_BATCH_SIZE)
		return 0;
	return (struct ea_draft *)(batch->bytes + used);
}

static __always_inline void ea_release(struct ea_batch *batch)
{
	EA_BARRIER();
	batch->busy = 0;
}

/*
 * Begin a record of the thread that bpf_get_current_pid_tgid() names. Its time is that of its end,
 * unless it is given one before.
 */
static __always_inline void ea_begin_of(struct ea_record *record, u64 pid_tid, u32 run, u8 type,
					s64 ret)
{
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
}

/* Begin a record that is written by itself, in the draft of its owner. */
static __always_inline struct ea_draft *ea_begin(u32 owner, u32 run, u8 type, s64 ret)
{
	struct ea_draft *draft = (struct ea_draft *)drafts.lookup(&owner);

	if (draft)
		ea_begin_of(&draft->record, bpf_get_current_pid_tgid(), run, type, ret);
	return draft;
}

/*
 * Take a place among the records that a run may have. Without one the run ends: its processes are
 * as all others from now on. Threads that take the last one at the same time all get it.
 */
static __always_inline bool ea_take_room(u32 run)
{
	u32 slot = EA_SLOT(run);
	u64 *left = room.lookup(&slot);
	u32 *now;

	if (!left || *left == EA_UNLIMITED)
		return true;
	if ((s64)*left > 0) {
		__sync_fetch_and_add(left, -1);
		return true;
	}
	now = armed.lookup(&slot);
	if (now && *now == run)
		*now = 0;
	return false;
}

/*
 * Complete a record that ends with `frames` bytes of frames and `length` bytes of payload. Return
 * false if the run may have no more: it is lost.
 */
static __always_inline bool ea_complete(struct ea_record *record, struct ea_counters *count,
					u64 frames, u64 length)
{
	if (!record->ts_ns)
		record->ts_ns = bpf_ktime_get_ns();
	record->frames = frames / sizeof(struct ea_frame);
	record->length = length;
	record->seq = ++count->emitted;
	if (ea_take_room(record->run))
		return true;
	count->dropped++;
	count->capped++;
	return false;
}

/*
 * Complete the record for which room was reserved. One with frames is written at once: they are
 * not sent again. Return false if it is lost already.
 */
static __always_inline bool ea_commit(struct ea_batch *batch, struct ea_draft *draft, u64 frames,
				      u64 length)
{
	struct ea_counters *count = ea_counters_of(draft->record.run);

	if (!count)
		return false;
	if (!ea_complete(&draft->record, count, frames, length))
		return false;
	batch->used += (sizeof(draft->record) + frames + length + 7) & ~7ULL;
	batch->records++;
	return !frames || ea_write_batch(batch);
}

/*
 * Complete and write a record that is written by itself, behind those that wait. The reader is not
 * woken: it reads when the burst is over. Return whether there was room.
 */
static __always_inline bool ea_end(struct ea_draft *draft, u64 length)
{
	struct ea_counters *count = ea_counters_of(draft->record.run);
	struct ea_batch *batch = ea_current_batch();
	u64 size = sizeof(draft->record) + length;

	if (!count || !batch)
		return false;
	if (batch->used && !batch->busy) {
		batch->busy = 1;
		EA_BARRIER();
		ea_write_batch(batch);
		ea_release(batch);
	}
	if (!ea_complete(&draft->record, count, 0, length))
		return false;
	EA_OPAQUE(size);
	if (size > sizeof(*draft) || !ea_output(draft->record.run, draft, size)) {
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
