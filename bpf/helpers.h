/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BPF helpers called by number, under names of our own. bcc before 0.24 does not know the last
 * two; and for every mention of bpf_probe_read_user bcc reads all symbols of the kernel to learn
 * whether it exists, which more than doubles the time to load.
 */
#ifndef EA_HELPERS_H
#define EA_HELPERS_H

static long (*ea_probe_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*ea_probe_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*ea_probe_user_text)(void *to, u32 size, const void *from) = (void *)114;
static long (*ea_probe_kernel_text)(void *to, u32 size, const void *from) = (void *)115;
static long (*ea_ring_output)(void *ring, void *from, u64 size, u64 flags) = (void *)130;
static u64 (*ea_ancestor_cgroup)(int level) = (void *)123; /* for tracing: Linux 5.15 */
static void *(*ea_current_task)(void) = (void *)158;       /* Linux 5.11, with BTF */
static void *(*ea_task_registers)(void *) = (void *)175;   /* Linux 5.15 */

#endif
