/* SPDX-License-Identifier: Apache-2.0 */
/* bcc includes this file first of all; it refuses kernels without the bpf system call. */
#define CONFIG_BPF_SYSCALL 1
