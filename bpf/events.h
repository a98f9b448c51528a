/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary interface between the probe and user space.
 *
 * A record is a struct ea_record, then the frames of its stack if it is the first one with that
 * stack, then its payload; each only as long as needed, so that the ordinary record takes 72
 * bytes. A piece of the ring is one record or several, each at a multiple of 8 bytes. The layout is
 * written a second time in envoyassert/wire.py; static assertions made from that file are compiled
 * with this one, so that a difference is refused at load. enum ea_type is made from
 * envoyassert/calls, where each recorded call has its numbers.
 *
 * pid is what user space calls a process id (the kernel's tgid), tid a thread id; both in the
 * initial pid namespace.
 */
#ifndef EA_EVENTS_H
#define EA_EVENTS_H

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

/* Bits of ea_record.flags. */
#define EA_FAULT 1     /* some user memory could not be read */
#define EA_TRUNCATED 2 /* there was more than the payload holds */

#define EA_AT_FDCWD -100   /* in place of a directory's descriptor: the working directory */
#define EA_BATCH_SIZE 2048 /* a batch of records is written when it has so many bytes */
#define EA_FRAME_COUNT 8
#define EA_DATA_SIZE 128 /* at most: an address, an option's value, descriptors of SCM_RIGHTS */
#define EA_PATH_SIZE 512
#define EA_PROGRAM_SIZE 512 /* at most: instructions of a packet filter, 8 bytes each */
#define EA_COMM_SIZE 16
#define EA_FILENAME_SIZE 240
#define EA_ARGV_SIZE 768
#define EA_UNLIMITED (~0ULL >> 1)
#define EA_TEXT_SIZE 256 /* of a selection: a path, a name, a variable; with a zero at its end */

struct ea_record {
	u64 ts_ns; /* CLOCK_MONOTONIC */
	s64 ret;
	u64 stack; /* names a user stack of the process; 0 if none was taken */
	u32 run;   /* serial number of the run that the process belongs to */
	u32 seq;   /* counts the records of this run on this CPU, from 1 */
	u32 pid;
	u32 tid;
	u16 cpu;
	u8 type; /* enum ea_type */
	u8 flags;
	u16 frames; /* how many struct ea_frame follow */
	u16 length; /* bytes of payload after them */
	u32 args[6];
};

/* struct bpf_stack_build_id of the kernel */
struct ea_frame {
	s32 status; /* 1: build id and offset; 2: only the address */
	u8 build_id[20];
	u64 offset;
};

/* The payload of EA_EXEC, as far as the arguments reach. */
struct ea_exec {
	u8 comm[EA_COMM_SIZE];
	u8 filename[EA_FILENAME_SIZE];
	u8 argv[EA_ARGV_SIZE];
};

/* Where a record is put together. */
struct ea_draft {
	struct ea_record record;
	union {
		struct {
			struct ea_frame frames[EA_FRAME_COUNT];
			u8 data[EA_DATA_SIZE]; /* begins earlier if there are fewer frames */
		};
		u8 path[EA_PATH_SIZE];
		u8 program[EA_PROGRAM_SIZE];
		struct ea_exec exec;
	};
};

/* One per run and CPU, read by user space. */
struct ea_counters {
	u64 emitted;       /* records that were to be written */
	u64 dropped;       /* of these: lost, for one of the causes below or a full ring */
	u64 unmarked;      /* of the dropped: a process could not be marked, the map was full */
	u64 marked;        /* execs that carried the run id, or that a selection gave the run to */
	u64 registrations; /* successful EPOLL_CTL_ADD */
	u64 capped;        /* of the dropped: more than the run may have, and the last of it */
	u64 selection;     /* on the CPU where a selection took the run: its number, from 1 */
};

/*
 * What a process must be at its exec to get a spare run. Written by user space, but for the counts.
 * A mask of zeros stands for any value.
 */
struct ea_selection {
	u64 taken;   /* spare runs that it gave to processes */
	u64 missed;  /* execs that it could give none to, or that could not be read whole */
	u64 comm[2]; /* the name of the process: the first 15 bytes of the executable's */
	u64 comm_mask[2];
	u64 records;      /* how many a run may have, EA_UNLIMITED for any number */
	u64 cgroup;       /* id of a cgroup (version 2) that holds the process, 0 for any */
	u32 cgroup_level; /* how far that one is below the root */
	u32 armed;        /* 1 */
	u32 uid;
	u32 uid_mask;
	u32 variables; /* bits of those texts that the environment must hold */
	u32 exe_size;  /* bytes of the text that the path must end with, 0: comm says it all */
	u32 is_path;   /* that is the whole of the path */
	u32 pad;
};

/* Key of the map of armed runs: the run id, 16 hexadecimal digits. */
struct ea_run_id {
	u64 head;
	u64 tail;
};

/* Value of the map of marked processes. */
struct ea_target {
	u32 run;
	u32 epolls;  /* epoll instances made so far */
	u32 started; /* threads since the last exec, and how many of them are gone */
	u32 exited;
	u32 tables; /* bits: of which tables a call was recorded, see ea_is_first_of() */
};

struct ea_wait_key {
	u32 tid;
	u32 epfd;
};

#endif
