/* SPDX-License-Identifier: Apache-2.0 */
/* bcc brings its own copy of this header and reads it before; this one only has to exist. */
