// SPDX-License-Identifier: Apache-2.0
/*
 * Record what the processes of armed runs do with their sockets.
 *
 * Hooks: the raw tracepoints sys_exit (every recorded call, with its arguments from the saved
 * registers), sched_process_exec, sched_process_fork, sched_process_exit, signal_deliver,
 * task_rename and inet_sock_set_state; the named tracepoints of the entries of the epoll waits, and
 * of close, whose time counts. A raw one would run at the entry of every call, and a named one
 * takes the kernel most of 0.1 s to detach.
 *
 * Needs Linux 5.15 (bpf_task_pt_regs) with BTF. Uses tracepoint arguments, saved registers and
 * helpers, and three members of the kernel's structures, whose places the kernel publishes: it
 * needs no kernel headers.
 *
 * What can be missed: a full ring (counted), a call through io_uring (recorded as a tripwire),
 * calls by 32-bit numbers (the first of a process is a tripwire), an argument that another thread
 * changed while the call ran, a seccomp filter that was there before the run and claims success.
 */
#include "events.h"
#include "helpers.h"
#include "target.h"
#include "emit.h"
#include "registers.h"
#include "stacks.h"
#include "uapi.h"
#include "syscalls.h"
#include "select.h"
#include "lifecycle.h"
