;; What the tests of a runtime have its guests do, for a runtime whose guests are WASI modules: the first letter of the
;; first argument says what.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 32)
  (data (i32.const 512) "\n|one\ntwo PWD=")

  (func $length (param $text i32) (result i32) (local $at i32)
    (local.set $at (local.get $text))
    (block $done (loop $more
      (br_if $done (i32.eqz (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))
    (i32.sub (local.get $at) (local.get $text)))

  (func $out (param $fd i32) (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $size))
    (if (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 99)))))

  (func $print (param $fd i32) (param $text i32)
    (call $out (local.get $fd) (local.get $text) (call $length (local.get $text))))

  (func $newline (param $fd i32) (call $out (local.get $fd) (i32.const 512) (i32.const 1)))

  (func $arg (param $number i32) (result i32)
    (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $number) (i32.const 4)))))

  (func $number (param $text i32) (result i32) (local $out i32)
    (loop $more
      (if (i32.load8_u (local.get $text)) (then
        (local.set $out (i32.add (i32.mul (local.get $out) (i32.const 10))
                                 (i32.sub (i32.load8_u (local.get $text)) (i32.const 48))))
        (local.set $text (i32.add (local.get $text) (i32.const 1)))
        (br $more))))
    (local.get $out))

  (func $print_number (param $value i32) (local $at i32)
    (local.set $at (i32.const 600))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
      (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
      (br_if $more (local.get $value)))
    (call $out (i32.const 1) (local.get $at) (i32.sub (i32.const 600) (local.get $at)))
    (call $newline (i32.const 1)))

  (func $read (param $fd i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1048576))
    (i32.store (i32.const 4) (i32.const 65536))
    (if (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)) (then (call $exit (i32.const 98))))
    (i32.load (i32.const 8)))

  ;; The last folder that was given is the one it was started in.
  (func $here (result i32) (local $fd i32)
    (local.set $fd (i32.const 3))
    (block $done (loop $more
      (br_if $done (call $prestat (local.get $fd) (i32.const 16)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $more)))
    (i32.sub (local.get $fd) (i32.const 1)))

  (func $open (param $name i32) (param $how i32) (param $rights i64) (result i32)
    (if (call $path_open (call $here) (i32.const 1) (local.get $name) (call $length (local.get $name))
                         (local.get $how) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 32))
      (then (call $exit (i32.const 97))))
    (i32.load (i32.const 32)))

  (func $arguments (param $count i32) (local $number i32)
    (local.set $number (i32.const 2))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $number) (local.get $count)))
      (call $print (i32.const 1) (call $arg (local.get $number)))
      (call $out (i32.const 1) (i32.const 513) (i32.const 1))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br $more))))

  (func $environment (param $only i32) (local $number i32) (local $count i32) (local $line i32)
    (drop (call $environ_sizes (i32.const 16) (i32.const 20)))
    (drop (call $environ_get (i32.const 2048) (i32.const 131072)))
    (local.set $count (i32.load (i32.const 16)))
    (block $done (loop $more
      (br_if $done (i32.ge_u (local.get $number) (local.get $count)))
      (local.set $line (i32.load (i32.add (i32.const 2048) (i32.mul (local.get $number) (i32.const 4)))))
      (if (local.get $only)
        (then (if (i32.eq (i32.load (local.get $line)) (i32.load (i32.const 522))) (then
          (call $print (i32.const 1) (i32.add (local.get $line) (i32.const 4))) (call $newline (i32.const 1)))))
        (else (call $print (i32.const 1) (local.get $line)) (call $newline (i32.const 1))))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br $more))))

  (func $count (local $total i32) (local $size i32)
    (loop $more
      (local.set $size (call $read (i32.const 0)))
      (local.set $total (i32.add (local.get $total) (local.get $size)))
      (br_if $more (local.get $size)))
    (call $print_number (local.get $total)))

  (func $show (local $fd i32) (local $size i32)
    (local.set $fd (call $open (call $arg (i32.const 2)) (i32.const 0) (i64.const 2)))
    (loop $more
      (local.set $size (call $read (local.get $fd)))
      (call $out (i32.const 1) (i32.const 1048576) (local.get $size))
      (br_if $more (local.get $size))))

  (func $keep (local $fd i32)
    (local.set $fd (call $open (call $arg (i32.const 2)) (i32.const 9) (i64.const 64)))
    (call $print (local.get $fd) (call $arg (i32.const 3)))
    (call $newline (local.get $fd)))

  (func $sleep (param $milliseconds i32)
    (i64.store (i32.const 64) (i64.const 0))
    (i32.store8 (i32.const 72) (i32.const 0))
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (i64.mul (i64.extend_i32_u (local.get $milliseconds)) (i64.const 1000000)))
    (i32.store16 (i32.const 104) (i32.const 0))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 160))))

  (func $deep (param $n i32) (result i32) (i32.add (i32.const 1) (call $deep (i32.add (local.get $n) (i32.const 1)))))

  (func $grow (local $pages i32)
    (block $done (loop $more
      (br_if $done (i32.eq (memory.grow (i32.const 16)) (i32.const -1)))
      (br $more)))
    (call $print_number (memory.size)))

  (func (export "_start") (local $what i32) (local $count i32)
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (local.set $count (i32.load (i32.const 16)))
    (drop (call $args_get (i32.const 1024) (i32.const 8192)))
    (local.set $what (i32.load8_u (call $arg (i32.const 1))))
    (if (i32.eq (local.get $what) (i32.const 0x61)) (then (call $arguments (local.get $count))))        ;; a
    (if (i32.eq (local.get $what) (i32.const 0x62)) (then (i32.store (i32.const -4) (i32.const 1))))     ;; b: break
    (if (i32.eq (local.get $what) (i32.const 0x63)) (then (call $count)))                               ;; c
    (if (i32.eq (local.get $what) (i32.const 0x64)) (then (drop (call $deep (i32.const 0)))))           ;; d: deep
    (if (i32.eq (local.get $what) (i32.const 0x65)) (then (call $environment (i32.const 0))))           ;; e
    (if (i32.eq (local.get $what) (i32.const 0x66)) (then (loop $more                                   ;; f: flood
      (call $out (i32.const 1) (i32.const 1048576) (i32.const 65536)) (br $more))))
    (if (i32.eq (local.get $what) (i32.const 0x67)) (then (call $show)))                                ;; g: get
    (if (i32.eq (local.get $what) (i32.const 0x6b)) (then (call $keep)))                                ;; k
    (if (i32.eq (local.get $what) (i32.const 0x6d)) (then (call $grow)))                                ;; m: memory
    (if (i32.eq (local.get $what) (i32.const 0x70)) (then                                               ;; p: spin
      (loop $more (br $more))))
    (if (i32.eq (local.get $what) (i32.const 0x73)) (then                                               ;; s: say
      (call $print (i32.const 1) (call $arg (i32.const 2))) (call $newline (i32.const 1))
      (call $print (i32.const 2) (call $arg (i32.const 3))) (call $newline (i32.const 2))
      (call $exit (call $number (call $arg (i32.const 4))))))
    (if (i32.eq (local.get $what) (i32.const 0x74)) (then                                               ;; t: talk
      (call $out (i32.const 1) (i32.const 514) (i32.const 4))
      (local.set $count (call $read (i32.const 0)))
      (call $out (i32.const 1) (i32.const 518) (i32.const 4))
      (call $out (i32.const 1) (i32.const 1048576) (local.get $count))))
    (if (i32.eq (local.get $what) (i32.const 0x75)) (then (unreachable)))                               ;; u
    (if (i32.eq (local.get $what) (i32.const 0x77)) (then (call $environment (i32.const 1))))           ;; w: where
    (if (i32.eq (local.get $what) (i32.const 0x7a)) (then (call $sleep (call $number (call $arg (i32.const 2))))))))
