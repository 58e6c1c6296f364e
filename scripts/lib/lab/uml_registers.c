/*
 * Lets user-mode Linux run on processors with more registers than it knows.
 *
 * It asks the kernel for a guest process's vector registers (PTRACE_GETREGSET, NT_X86_XSTATE) with room for AVX-512's and no more,
 * which the kernel answers with as much as fits; and gives back as much, which the kernel refuses (EFAULT) if there is more: it
 * takes the whole area or nothing. Where AMX is there, that is four times as long, and no guest boots: "ptrace set fp regs failed, errno
 * 14". So what user-mode Linux gives back is put into a whole area whose other registers are what they are at the start of
 * a process; its header names none of them as used.
 *
 * Loaded into user-mode Linux by LD_PRELOAD (uml.py), which calls the C library's ptrace with these four arguments.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifndef NT_X86_XSTATE
#define NT_X86_XSTATE 0x202
#endif

/* The most that any processor has by now is 11 KiB. */
#define AREA_MAX (64 * 1024)

typedef long call(long request, pid_t pid, void *address, void *data);

long ptrace(enum __ptrace_request request, ...)
{
    static call *real;
    static __thread char area[AREA_MAX];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, request);
    pid_t pid = __builtin_va_arg(arguments, pid_t);
    void *address = __builtin_va_arg(arguments, void *);
    void *data = __builtin_va_arg(arguments, void *);
    __builtin_va_end(arguments);

    if (!real)
        real = (call *)dlsym(RTLD_NEXT, "ptrace");
    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE)
        return real(request, pid, address, data);

    struct iovec whole = { area, sizeof area };
    long failed = real(PTRACE_GETREGSET, pid, address, &whole);
    const struct iovec *given = data;
    if (failed || given->iov_len >= whole.iov_len)
        return real(request, pid, address, data);
    memset(area + given->iov_len, 0, whole.iov_len - given->iov_len);
    memcpy(area, given->iov_base, given->iov_len);
    return real(request, pid, address, &whole);
}
