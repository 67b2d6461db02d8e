;; Does one call of WASI, which the first letter of the first argument names, and says which error number it was given.
;; Paths are the next arguments, as they are, from the folder that it was started in.
(module
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory" (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file" (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_link" (func $link (param i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_readlink" (func $readlink (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 32)

  (func $length (param $text i32) (result i32) (local $at i32)
    (local.set $at (local.get $text))
    (block $done (loop $more
      (br_if $done (i32.eqz (i32.load8_u (local.get $at))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $more)))
    (i32.sub (local.get $at) (local.get $text)))

  (func $arg (param $number i32) (result i32)
    (i32.load (i32.add (i32.const 1024) (i32.mul (local.get $number) (i32.const 4)))))

  (func $out (param $text i32) (param $size i32)
    (i32.store (i32.const 0) (local.get $text))
    (i32.store (i32.const 4) (local.get $size))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))

  (func $print_number (param $value i32) (local $at i32)
    (local.set $at (i32.const 600))
    (i32.store8 (i32.const 600) (i32.const 32))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
      (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
      (br_if $more (local.get $value)))
    (local.set $at (i32.sub (local.get $at) (i32.const 1)))
    (i32.store8 (local.get $at) (i32.const 32))
    (call $out (local.get $at) (i32.sub (i32.const 601) (local.get $at))))

  (func $here (result i32) (local $fd i32)
    (local.set $fd (i32.const 3))
    (block $done (loop $more
      (br_if $done (call $prestat (local.get $fd) (i32.const 16)))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br $more)))
    (i32.sub (local.get $fd) (i32.const 1)))

  (func $open (param $path i32) (param $how i32) (param $rights i64) (result i32)
    (call $path_open (call $here) (i32.const 1) (local.get $path) (call $length (local.get $path))
                     (local.get $how) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 32)))

  ;; Opens what is named again and again, and says how often it could.
  (func $many (param $path i32) (result i32) (local $count i32) (local $number i32)
    (block $done (loop $more
      (local.set $number (call $open (local.get $path) (i32.const 0) (i64.const 2)))
      (br_if $done (local.get $number))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br $more)))
    (call $print_number (local.get $count))
    (local.get $number))

  ;; Writes until it is refused.
  (func $fill (param $path i32) (result i32) (local $number i32)
    (local.set $number (call $open (local.get $path) (i32.const 9) (i64.const 64)))
    (if (local.get $number) (then (return (local.get $number))))
    (i32.store (i32.const 0) (i32.const 1048576))
    (i32.store (i32.const 4) (i32.const 65536))
    (loop $more
      (local.set $number (call $fd_write (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br_if $more (i32.eqz (local.get $number))))
    (local.get $number))

  ;; Makes files with names of three letters until it is refused.
  (func $files (result i32) (local $count i32) (local $number i32)
    (loop $more
      (i32.store8 (i32.const 700) (i32.add (i32.const 97) (i32.rem_u (local.get $count) (i32.const 26))))
      (i32.store8 (i32.const 701) (i32.add (i32.const 97)
        (i32.rem_u (i32.div_u (local.get $count) (i32.const 26)) (i32.const 26))))
      (i32.store8 (i32.const 702) (i32.add (i32.const 97) (i32.div_u (local.get $count) (i32.const 676))))
      (i32.store8 (i32.const 703) (i32.const 0))
      (local.set $number (call $mkdir (call $here) (i32.const 700) (i32.const 3)))
      (local.set $count (i32.add (local.get $count) (i32.const 1)))
      (br_if $more (i32.eqz (local.get $number))))
    (local.get $number))

  ;; Reads what is named and prints it.
  (func $show (param $path i32) (result i32) (local $number i32)
    (local.set $number (call $open (local.get $path) (i32.const 0) (i64.const 2)))
    (if (local.get $number) (then (return (local.get $number))))
    (i32.store (i32.const 0) (i32.const 1048576))
    (i32.store (i32.const 4) (i32.const 65536))
    (local.set $number (call $fd_read (i32.load (i32.const 32)) (i32.const 0) (i32.const 1) (i32.const 8)))
    (call $out (i32.const 1048576) (i32.load (i32.const 8)))
    (local.get $number))

  ;; Uses every descriptor that it was not given.
  (func $forge (result i32) (local $fd i32) (local $found i32)
    (local.set $fd (i32.add (call $here) (i32.const 1)))
    (loop $more
      (i32.store (i32.const 0) (i32.const 1048576))
      (i32.store (i32.const 4) (i32.const 16))
      (if (i32.eqz (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (then (local.set $found (i32.const 1))))
      (if (i32.eqz (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (then (local.set $found (i32.const 1))))
      (if (i32.eqz (call $fd_renumber (local.get $fd) (i32.const 1))) (then (local.set $found (i32.const 1))))
      (local.set $fd (i32.add (local.get $fd) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $fd) (i32.const 70000))))
    (if (local.get $found) (then (return (i32.const 0))))
    (call $fd_write (i32.const -1) (i32.const 0) (i32.const 1) (i32.const 8)))

  (func (export "_start") (local $what i32) (local $one i32) (local $two i32) (local $fd i32) (local $number i32)
    (drop (call $args_sizes (i32.const 16) (i32.const 20)))
    (drop (call $args_get (i32.const 1024) (i32.const 8192)))
    (local.set $what (i32.load8_u (call $arg (i32.const 1))))
    (local.set $one (call $arg (i32.const 2)))
    (local.set $two (call $arg (i32.const 3)))
    (local.set $fd (call $here))
    (local.set $number (i32.const 9999))
    (if (i32.eq (local.get $what) (i32.const 0x72))                                                     ;; r: read
      (then (local.set $number (call $show (local.get $one)))))
    (if (i32.eq (local.get $what) (i32.const 0x77))                                                     ;; w: write
      (then (local.set $number (call $open (local.get $one) (i32.const 0) (i64.const 64)))))
    (if (i32.eq (local.get $what) (i32.const 0x63))                                                     ;; c: create
      (then (local.set $number (call $open (local.get $one) (i32.const 9) (i64.const 64)))))
    (if (i32.eq (local.get $what) (i32.const 0x73))                                                     ;; s: stat
      (then (local.set $number
        (call $stat (local.get $fd) (i32.const 1) (local.get $one) (call $length (local.get $one)) (i32.const 64)))))
    (if (i32.eq (local.get $what) (i32.const 0x6d))                                                     ;; m: mkdir
      (then (local.set $number (call $mkdir (local.get $fd) (local.get $one) (call $length (local.get $one))))))
    (if (i32.eq (local.get $what) (i32.const 0x64))                                                     ;; d: rmdir
      (then (local.set $number (call $rmdir (local.get $fd) (local.get $one) (call $length (local.get $one))))))
    (if (i32.eq (local.get $what) (i32.const 0x75))                                                     ;; u: unlink
      (then (local.set $number (call $unlink (local.get $fd) (local.get $one) (call $length (local.get $one))))))
    (if (i32.eq (local.get $what) (i32.const 0x6e))                                                     ;; n: rename
      (then (local.set $number
        (call $rename (local.get $fd) (local.get $one) (call $length (local.get $one))
                      (local.get $fd) (local.get $two) (call $length (local.get $two))))))
    (if (i32.eq (local.get $what) (i32.const 0x6c))                                                     ;; l: symlink
      (then (local.set $number
        (call $symlink (local.get $one) (call $length (local.get $one))
                       (local.get $fd) (local.get $two) (call $length (local.get $two))))))
    (if (i32.eq (local.get $what) (i32.const 0x68))                                                     ;; h: hard link
      (then (local.set $number
        (call $link (local.get $fd) (i32.const 0) (local.get $one) (call $length (local.get $one))
                    (local.get $fd) (local.get $two) (call $length (local.get $two))))))
    (if (i32.eq (local.get $what) (i32.const 0x65))                                                     ;; e: readlink
      (then (local.set $number
        (call $readlink (local.get $fd) (local.get $one) (call $length (local.get $one))
                        (i32.const 4096) (i32.const 512) (i32.const 32)))))
    (if (i32.eq (local.get $what) (i32.const 0x69))                                                     ;; i: list
      (then (local.set $number (call $fd_readdir (local.get $fd) (i32.const 65536) (i32.const 4096) (i64.const 0)
                                                 (i32.const 32)))))
    (if (i32.eq (local.get $what) (i32.const 0x74))                                                     ;; t: truncate
      (then
        (local.set $number (call $open (local.get $one) (i32.const 1) (i64.const 64)))
        (if (i32.eqz (local.get $number))
          (then (local.set $number (call $set_size (i32.load (i32.const 32)) (i64.const 1099511627776)))))))
    (if (i32.eq (local.get $what) (i32.const 0x66))                                                     ;; f: fill
      (then (local.set $number (call $fill (local.get $one)))))
    (if (i32.eq (local.get $what) (i32.const 0x6f))                                                     ;; o: open often
      (then (local.set $number (call $many (local.get $one)))))
    (if (i32.eq (local.get $what) (i32.const 0x76)) (then (local.set $number (call $files))))           ;; v: many files
    (if (i32.eq (local.get $what) (i32.const 0x78)) (then (local.set $number (call $forge))))           ;; x: descriptors
    (if (i32.eq (local.get $what) (i32.const 0x6b)) (then (local.set $number (call $raise (i32.const 9)))))   ;; k: kill
    (if (i32.eq (local.get $what) (i32.const 0x61))                                                     ;; a: accept
      (then (local.set $number (call $accept (i32.const 0) (i32.const 0) (i32.const 32)))))
    (if (i32.eq (local.get $what) (i32.const 0x62))                                                     ;; b: send
      (then (local.set $number
        (call $send (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 32)))))
    (call $print_number (local.get $number))))
