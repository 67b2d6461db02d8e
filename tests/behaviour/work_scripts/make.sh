# A small library and program in C, by make; static, shared, stripped, installed.
mkdir src && for n in $(seq 12); do echo "int f$n(int x) { return x + $n; }" > src/f$n.c; done
echo 'int f1(int), f12(int); int main(void) { return f1(1) + f12(-15) + 1; }' > src/main.c
printf 'O=$(patsubst src/%%.c,%%.o,$(wildcard src/f*.c))\nall: prog libf.so\n%%.o: src/%%.c\n\tgcc -O1 -g -fPIC -c $< -o $@\nlibf.a: $O\n\tar rcs $@ $^\nlibf.so: $O\n\tgcc -shared -o $@ $^\nprog: src/main.c libf.a\n\tgcc -o $@ $^\ninstall: all\n\tinstall -D -m 755 prog out/bin/prog\n\tinstall -D -m 644 libf.so out/lib/libf.so\nclean:\n\trm -f *.o *.a *.so prog\n' > Makefile
make -j2 && ./prog && make install && strip out/bin/prog && out/bin/prog && nm libf.so | head -3 && make clean
