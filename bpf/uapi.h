/* SPDX-License-Identifier: Apache-2.0 */
/* Structures of the kernel's user interface that calls point to. */
#ifndef EA_UAPI_H
#define EA_UAPI_H

/* struct user_msghdr of the kernel, part of its user interface (recvmsg(2)) */
struct ea_msghdr {
	u64 name;
	u32 name_length;
	u32 pad0;
	u64 iov;
	u64 iov_count;
	u64 control;
	u64 control_length;
	u32 flags;
	u32 pad1;
};

/* struct mmsghdr (recvmmsg(2)) */
struct ea_mmsghdr {
	struct ea_msghdr message;
	u32 length;
	u32 pad0;
};

/* struct sock_fprog of a program of 64 bits (linux/filter.h) */
struct ea_sock_fprog {
	u16 length; /* in instructions of 8 bytes */
	u16 pad[3];
	u64 filter;
};

struct ea_cmsghdr {
	u64 length;
	s32 level;
	s32 type;
};

#endif
