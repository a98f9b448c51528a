/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system call's number and arguments from the registers that the kernel saved at its entry.
 * They are still there at its exit, unchanged for every call that is recorded here. The offsets
 * are those of struct pt_regs, which is part of each architecture's user interface (ptrace).
 */
#ifndef EA_REGISTERS_H
#define EA_REGISTERS_H

struct ea_call {
	u64 nr;
	u64 args[6];
	u64 ip; /* where the user's code was, and its stack and frame pointers */
	u64 sp;
	u64 fp;
};

#if defined(__x86_64__)

#define EA_USER_SP 152

/* Return false for a 32-bit call: its numbers mean other calls. */
static __always_inline bool ea_read_call(struct ea_call *call, u64 regs)
{
	u64 raw[16]; /* from 32: bp bx r11 r10 r9 r8 ax cx dx si di orig_ax ip cs flags sp */

	if (ea_probe_kernel(raw, sizeof(raw), (void *)(regs + 32)))
		return false;
	call->nr = raw[11];
	call->args[0] = raw[10];
	call->args[1] = raw[9];
	call->args[2] = raw[8];
	call->args[3] = raw[3];
	call->args[4] = raw[5];
	call->args[5] = raw[4];
	call->ip = raw[12];
	call->sp = raw[15];
	call->fp = raw[0];
	return (u16)raw[13] != 0x23;
}

#elif defined(__aarch64__)

#define EA_USER_SP 248

static __always_inline bool ea_read_call(struct ea_call *call, u64 regs)
{
	u64 raw[2]; /* orig_x0, syscallno */
	u64 place[4]; /* x29, x30, sp, pc */

	if (ea_probe_kernel(raw, sizeof(raw), (void *)(regs + 272)) ||
	    ea_probe_kernel(place, sizeof(place), (void *)(regs + 232)) ||
	    ea_probe_kernel(&call->args[1], 5 * sizeof(u64), (void *)(regs + 8)))
		return false;
	call->nr = (u32)raw[1];
	call->args[0] = raw[0];
	call->ip = place[3];
	call->sp = place[2];
	call->fp = place[0];
	return true;
}

#else
#error "envoyassert: only x86-64 and arm64 are supported"
#endif

static __always_inline u64 ea_current_registers(void)
{
	return (u64)ea_task_registers(ea_current_task());
}

#endif
