/* cpu.h - has OpenSSL take the RSA code that is fastest on this processor.
 *
 * A mail costs its signature, so this is most of what a mail costs. OpenSSL 3.0 prefers its ADX code wherever
 * there is ADX; on AMD's Zen 3 its AVX2 code (both constant-time) makes an RSA-2048 signature in 80 % of the
 * time: `openssl speed rsa2048` against the same with OPENSSL_ia32cap=:~0x80000 shows it. The choice is made
 * once, when libcrypto is loaded, from that variable (OPENSSL_ia32cap(3)); hence a new start of the program.
 *
 * Only where it was measured to help. Who sets OPENSSL_ia32cap, even to nothing, decides. */
#ifndef HATO_CPU_H
#define HATO_CPU_H

/* First thing in main, argv as main has it. Returns where nothing is to be gained, or the program cannot be
 * started anew; else does not return. */
void cpu_prefer_fast_rsa(char **argv);

#endif
