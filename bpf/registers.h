/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A system call's number and arguments from the registers that the kernel saved at its entry.
 * They are still there at its exit, unchanged for every call that is recorded here. The offsets
 * are those of struct pt_regs, which is part of each architecture's user interface (ptrace).
 */
#ifndef EA_REGISTERS_H
#define EA_REGISTERS_H

#define EA_X32_BIT (1ULL << 30) /* in the numbers of x32 */

/* What a call's number means depends on how the kernel was entered. */
enum ea_table {
	EA_NATIVE,
	EA_32_BIT, /* i386; of an arm64 machine: arm */
	EA_X32,
};

struct ea_call {
	u64 nr;
	u64 args[6];
	u64 ip; /* where the user's code was, and its stack and frame pointers */
	u64 sp;
	u64 fp;
	u64 odd;  /* not 0: maybe made by the numbers of another table, see ea_table_of() */
	u64 mode; /* code of 64 bits, or of 32 */
};

#if defined(__x86_64__)

#define EA_USER_SP 152
#define EA_CS_32_BIT 0x23
#define EA_CS_64_BIT 0x33
#define EA_INT_80 0x80cd /* the instruction, as it lies in memory */

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
	call->mode = (u16)raw[13];
	call->odd = (raw[7] ^ raw[12]) | (call->mode ^ EA_CS_64_BIT) | (call->nr & EA_X32_BIT);
	return true;
}

/*
 * The table of a call that is odd. The instruction `syscall` leaves the address behind it in cx
 * (but for processors with FRED); `int 0x80`, which code of 64 bits may use as well, does not. It
 * is not seen where cx has that address anyway, or where the instruction cannot be read.
 */
static __always_inline u32 ea_table_of(const struct ea_call *call)
{
	u16 instruction = 0;

	if (call->mode == EA_CS_32_BIT)
		return EA_32_BIT;
	if (call->nr >> 30 == 1)
		return EA_X32;
	ea_probe_user(&instruction, sizeof(instruction), (void *)(call->ip - 2));
	return instruction == EA_INT_80 ? EA_32_BIT : EA_NATIVE;
}

#elif defined(__aarch64__)

#define EA_USER_SP 248
#define EA_PSTATE_32_BIT 0x10

static __always_inline bool ea_read_call(struct ea_call *call, u64 regs)
{
	u64 raw[2];   /* orig_x0, syscallno */
	u64 place[5]; /* x29, x30, sp, pc, pstate */

	if (ea_probe_kernel(raw, sizeof(raw), (void *)(regs + 272)) ||
	    ea_probe_kernel(place, sizeof(place), (void *)(regs + 232)) ||
	    ea_probe_kernel(&call->args[1], 5 * sizeof(u64), (void *)(regs + 8)))
		return false;
	call->nr = (u32)raw[1];
	call->args[0] = raw[0];
	call->ip = place[3];
	call->sp = place[2];
	call->fp = place[0];
	call->odd = call->mode = place[4] & EA_PSTATE_32_BIT;
	return true;
}

static __always_inline u32 ea_table_of(const struct ea_call *call)
{
	return call->mode ? EA_32_BIT : EA_NATIVE;
}

#else
#error "envoyassert: only x86-64 and arm64 are supported"
#endif

static __always_inline u64 ea_current_registers(void)
{
	return (u64)ea_task_registers(ea_current_task());
}

#endif
