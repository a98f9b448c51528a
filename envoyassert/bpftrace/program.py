"""The text of our bpftrace program, with `<<NAME>>` where `script` puts something.

Two rules for what is below. A field of `args` is read once, at the beginning of its probe: bpftrace
0.17 makes code of a second read that the kernel refuses. And user memory is read in words of 8
bytes at multiples of 8: a word that begins before the end of a page ends before it as well.
"""

PROGRAM = """\
#!/usr/bin/env bpftrace
// What an Envoy does with its sockets, for `envoyassert import`; docs/bpftrace.md has the form.
// Printed by `envoyassert bpftrace-script` for Linux on <<MACHINE>>.

BEGIN
{
  // What maps hold must be known where they are read first.
  @marked[0] = (uint64)0;
  @epolls[0] = (uint64)0;
  @flags[0] = (uint64)0;
  @status[0] = (uint64)0;
<<CALLS>><<WAITS>><<PROCESSES>>  printf("<<FORMAT>> <<MACHINE>> pids <<PIDS>>\\n");
}

// The path is kept from here: bpftrace 0.23 reads another text from the field of the event itself.
tracepoint:syscalls:sys_enter_execve,
tracepoint:syscalls:sys_enter_execveat
{
  @path[pid] = str(args->filename);
}

tracepoint:sched:sched_process_exec
{
  if (<<MATCH>>) { @marked[pid] = 1; }
  if (@marked[pid]) {
    @epolls[pid] = nsecs;
    @seq[cpu]++;
    @fresh = 1;
    printf("exec %llu %d %llu %d %d %s\\n", nsecs, cpu, @seq[cpu], pid, tid, @path[pid]);
  }
  if (@path[pid] != "") { delete(@path[pid]); }
}

tracepoint:sched:sched_process_fork
{
  $child = (uint64)args->child_pid;
  $flags = @flags[tid];
  if (@marked[pid]) {
    // Of 1 too many, so that 0 is unknown: then it is a thread that the kernel made.
    if ($flags != 0 && (($flags - 1) & 0x10000) == 0) {
      @marked[$child] = 1;
      @epolls[$child] = nsecs;
    }
    @seq[cpu]++;
    @fresh = 1;
    printf("fork %llu %d %llu %d %d %llu %lld\\n",
           nsecs, cpu, @seq[cpu], pid, tid, $child, (int64)$flags - 1);
    @flags[tid] = 0;
  } else if (@marked[$child]) {
    // The number of a process that has ended.
    delete(@marked[$child]);
  }
}

tracepoint:sched:sched_process_exit
{
  if (@marked[pid]) {
    @seq[cpu]++;
    @fresh = 1;
    printf("exit %llu %d %llu %d %d %lld\\n",
           nsecs, cpu, @seq[cpu], pid, tid, (int64)@status[tid] - 1);
    if (@status[tid]) { delete(@status[tid]); }
    if (@begun[tid].1) { delete(@begun[tid]); }
  }
  if (@path[pid] != "") { delete(@path[pid]); }
}

tracepoint:signal:signal_deliver
/@marked[pid]/
{
  $number = args->sig;
  $handler = args->sa_handler;
  if ($handler == 0) {
    @seq[cpu]++;
    @fresh = 1;
    printf("signal %llu %d %llu %d %d %d\\n", nsecs, cpu, @seq[cpu], pid, tid, $number);
  }
}

tracepoint:task:task_rename
/@marked[pid]/
{
  $renamed = args->pid;
  @seq[cpu]++;
  @fresh = 1;
  printf("rename %llu %d %llu %d %d %d %r\\n",
         nsecs, cpu, @seq[cpu], pid, tid, $renamed, buf(args->newcomm, 16));
}

tracepoint:raw_syscalls:sys_enter
/@marked[pid]/
{
  $nr = (uint64)args->id;
  $a0 = (uint64)args->args[0];
  $a1 = (uint64)args->args[1];
  $a2 = (uint64)args->args[2];
  $a3 = (uint64)args->args[3];
  $a4 = (uint64)args->args[4];
  $kind = @calls[$nr];
  if ($kind == 1) {
    // The exit of the call before was missed.
    if (@begun[tid].1) { @seq[cpu]++; @fresh = 1; }
    @begun[tid] = ($nr, nsecs, $a0, $a1, $a2, $a3, $a4);
  }
  if ($kind == 2) {
    $since = @epolls[pid] + 1;
    if (@waits[tid, $a0] != $since) {
      @waits[tid, $a0] = $since;
      @seq[cpu]++;
      @count[$nr] = count();
      @fresh = 1;
      // Otherwise the map is full, and the wait is lost.
      if (@waits[tid, $a0] == $since) {
        printf("wait %llu %d %llu %d %d %llu %lld\\n",
               nsecs, cpu, @seq[cpu], pid, tid, $nr, (int64)$a0);
      }
    }
  }
  if ($nr == <<CLONE>>) { @flags[tid] = $a0 + 1; }
  if ($nr == <<CLONE3>>) { @flags[tid] = *(uint64 *)uptr($a0) + 1; }
  if ($nr == <<FORK>> || $nr == <<VFORK>>) { @flags[tid] = 1; }
  if ($nr == <<EXIT>> || $nr == <<EXIT_GROUP>>) { @status[tid] = ($a0 & 0xff) + 1; }
}

tracepoint:raw_syscalls:sys_exit
/@marked[pid]/
{
  $nr = (uint64)args->id;
  $ret = (int64)args->ret;
  if (@calls[$nr] == 1) {
    $in = @begun[tid];
    $a0 = (uint64)$in.2;
    $a1 = (uint64)$in.3;
    $a2 = (uint64)$in.4;
    $a3 = (uint64)$in.5;
    $a4 = (uint64)$in.6;
    $time = nsecs;
    // What lies at an address: `size` bytes at `at`; a second text at `second`; a plain value.
    $at = (uint64)0;
    $size = (uint64)0;
    $second = (uint64)0;
    $value = (uint64)0;
    $text = (uint64)0;
    $keep = 1;
    // A call that is restarted has another exit.
    if ($ret <= -512 && $ret >= -516) { $keep = 0; }

    if (<<EA_BIND>> || <<EA_CONNECT>>) { $at = $a1; $size = $a2 & 0xffffffff; }
    if (<<EA_ACCEPT>> || <<EA_ACCEPT4>> || <<EA_GETSOCKNAME>>) {
      if ($ret >= 0 && $a1 != 0 && $a2 != 0) {
        $at = $a1;
        $size = (uint64)*(uint32 *)uptr($a2);
      }
    }
    if (<<EA_SETSOCKOPT>>) {
      $at = $a3;
      $size = $a4 & 0xffffffff;
      if ($a1 == 1 && (<<FILTERS>>) && $size == 16) {
        // A packet filter: how long it is, and its instructions.
        $value = (uint64)*(uint16 *)uptr($a3);
        $at = *(uint64 *)uptr($a3 + 8);
        $size = $value * 8;
      }
    }
    // seccomp in strict mode or with a filter; prctl with PR_SET_SECCOMP.
    if (<<EA_SECCOMP>>) { if ($a0 > 1) { $keep = 0; } }
    if (<<EA_PRCTL>>) { if ($a0 != 22) { $keep = 0; } }
    if (<<EA_SECCOMP>> || <<EA_PRCTL>>) {
      $value = (uint64)*(uint16 *)uptr($a2);
      $at = *(uint64 *)uptr($a2 + 8);
      $size = $value * 8;
    }
    if (<<EA_FCNTL>>) { if (<<CMD_DUPS>>) { $keep = 0; } }
    // Not of EPOLL_CTL_DEL.
    if (<<EA_EPOLL_CTL>>) { if ($a1 != 2) { $value = (uint64)*(uint32 *)uptr($a3); } }
    if (<<EA_EPOLL_CREATE>> || <<EA_EPOLL_CREATE1>>) { @epolls[pid] = nsecs; }
    if (<<EA_SOCKETPAIR>>) {
      if ($ret == 0) {
        $value = (uint64)*(uint32 *)uptr($a3) | ((uint64)*(uint32 *)uptr($a3 + 4) << 32);
      }
    }
    if (<<EA_CLOSE>>) { $time = (uint64)$in.1; }
    // Texts: as much of each as one line has.
    if (<<EA_UNLINK>> || <<EA_CHMOD>>) { $at = $a0; $text = 1; }
    if (<<EA_FILE_RENAME>>) { $at = $a0; $second = $a1; $text = 1; }
    if (<<EA_UNLINKAT>> || <<EA_FCHMODAT>>) { $at = $a1; $text = 1; }
    if (<<EA_RENAMEAT>> || <<EA_RENAMEAT2>>) { $at = $a1; $second = $a3; $text = 1; }
    if (<<EA_OPEN>>) { $at = $a0; $text = 1; }
    if (<<EA_OPENAT>>) { $at = $a1; $text = 1; }
    if ((<<EA_OPEN>> || <<EA_OPENAT>>) && $ret < 0) { $keep = 0; }
    if ($text && $at != 0) { $size = <<BYTES>> - ($at & 7); }

    if (<<EA_SENDMSG>> || <<EA_RECVMSG>> || <<EA_SENDMMSG>> || <<EA_RECVMMSG>>) {
      // Kept with descriptors alone: 1 in `value`, or 2 if there may be more of them.
      $keep = 0;
      $receives = (<<EA_RECVMSG>> || <<EA_RECVMMSG>>);
      if ($ret >= 0 || !$receives) {
        $control = (uint64)*(uint64 *)uptr($a1 + 32);
        $length = (uint64)*(uint64 *)uptr($a1 + 40);
        $cut = (uint64)*(uint32 *)uptr($a1 + 48) & 8;
        if ($control == 0) { $length = (uint64)0; }
        $offset = (uint64)0;
        unroll(4) {
          if ($value == 0 && $offset + 16 <= $length) {
            $one = (uint64)*(uint64 *)uptr($control + $offset);
            $kind = (uint64)*(uint64 *)uptr($control + $offset + 8);
            if ($kind == 0x100000001 && $one >= 16) {
              $at = $control + $offset + 16;
              $size = $one - 16;
              $value = 1;
            }
            $offset += $one < 16 ? $length : ($one + 7) & 0xfffffffffffffff8;
          }
        }
        if ($value == 1 && $receives && $cut != 0) { $value = 2; }
        if ((<<EA_SENDMMSG>> || <<EA_RECVMMSG>>) && $ret > 1) {
          $message = (uint64)0;
          unroll(15) {
            $message += 1;
            $later = (uint64)*(uint64 *)uptr($a1 + $message * 64 + 32);
            if ((int64)$message < $ret && $later != 0) {
              $of = (uint64)*(uint64 *)uptr($later + 8);
              // Credentials, a label or a pidfd may come before descriptors.
              if (*(uint64 *)uptr($a1 + $message * 64 + 40) >= 16 &&
                  ($of & 0xffffffff) == 1 && ($of >> 32) <= 4) { $value = 2; }
            }
          }
          if ($ret > 16) { $value = 2; }
        }
      }
      if ($value != 0) { $keep = 1; }
    }

    if ($at == 0) { $size = (uint64)0; }
    if (@begun[tid].1 == 0 || $in.0 != $nr) {
      // Its entry was missed: a number that no line has says so.
      if ($keep) { @seq[cpu]++; @fresh = 1; }
    } else {
      delete(@begun[tid]);
      if ($keep) {
        @seq[cpu]++;
        @count[$nr] = count();
        @fresh = 1;
        printf("call %llu %d %llu %d %d %llu %lld %llx %llx %llx %llx %llx %llx %llu %llu\\n",
               $time, cpu, @seq[cpu], pid, tid, $nr, $ret, $a0, $a1, $a2, $a3, $a4,
               $value, $at & 7, $size);
        // Of each 128 bytes a line; the last one is of the second text.
        $base = $at & 0xfffffffffffffff8;
        $size = $size == 0 ? (uint64)0 : $size + ($at & 7);
        $before = ((uint64)1 << (($at & 7) * 8)) - 1;
        $from = (uint64)0;
        $more = (uint64)1;
        $chunk = (uint64)0;
        unroll(<<LINES>>) {
          if ($chunk == <<SECOND>>) {
            $base = $second & 0xfffffffffffffff8;
            $size = $second == 0 ? (uint64)0 : (uint64)<<BYTES>>;
            $before = ((uint64)1 << (($second & 7) * 8)) - 1;
            $from = (uint64)0;
            $more = (uint64)1;
          }
          if ($size > $from) {
<<WORDS>>
            printf("data %d %llu %llu <<FORMATS>>\\n", cpu, @seq[cpu], $chunk,
                   <<VALUES>>);
          }
          $from += <<BYTES>>;
          $chunk += 1;
        }
      }
    }
  }
}

// After all tracepoints were attached: from now on nothing is missed.
interval:ms:100
/!@armed/
{
  @armed = 1;
  printf("armed %llu\\n", nsecs);
}

// What the kernel skipped, which it says of each program; of this process's own descriptors.
interval:s:1
/@fresh/
{
  @fresh = 0;
  printf("skipped %llu <<PROGRAMS>>\\n", nsecs);
<<CATS>>
  printf("skipped end\\n");
}

END
{
  printf("end %llu\\n", nsecs);
  print(@seq);
  print(@count);
  clear(@seq);
  clear(@count);
  clear(@calls);
  clear(@marked);
  clear(@epolls);
  clear(@flags);
  clear(@status);
  clear(@begun);
  clear(@waits);
  clear(@path);
  clear(@armed);
  clear(@fresh);
}
"""
