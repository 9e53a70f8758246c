"""usage: what a program took, memory and processor, as the kernel counts it."""
import collections
import subprocess
import sys

# ru_maxrss of a child begins with what its parent held when it was started, and a test runner grows beyond what is to be
# measured. So a process that is small itself starts the program.
STARTER = ("import os, sys\npid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)\n_, status, used = os.wait4(pid, 0)\n"
           "print()\nprint(os.waitstatus_to_exitcode(status), used.ru_maxrss, used.ru_utime + used.ru_stime)")
Usage = collections.namedtuple("Usage", "said code high_kb cpu_s")  # standard output, exit status, KiB, seconds
LEAST_KB = 16384  # the starter's own; nothing smaller can be told


def of(command, limit_s=None):
    """Runs the command, whose first word is a path, to its end."""
    done = subprocess.run([sys.executable, "-I", "-S", "-c", STARTER, *command], stdout=subprocess.PIPE, text=True,
                          timeout=limit_s, check=True)
    said, _, numbers = done.stdout.rstrip("\n").rpartition("\n")
    code, high_kb, cpu_s = numbers.split()
    return Usage(said, int(code), int(high_kb), float(cpu_s))
