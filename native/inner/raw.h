/* System calls without the C library: a process that shares another's memory shares its errno too. */

#ifndef CLO_RAW_H
#define CLO_RAW_H

/* What the kernel gives: the result, or -errno. */
static inline long clo_raw5(long number, long a, long b, long c, long d, long e)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long result;

    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;

    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
#else
#error "cloche-inner is for x86-64 and AArch64, as gVisor is"
#endif
}

static inline long clo_raw(long number, long a, long b, long c, long d)
{
    return clo_raw5(number, a, b, c, d, 0);
}

#endif
