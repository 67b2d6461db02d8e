# Perl: text, files, modules, a child.
seq 1000 | perl -ne 'chomp; $s += $_; END { print "$s\n" }'
perl -MFile::Temp=tempfile -MJSON::PP -MDigest::SHA=sha1_hex -e 'my ($h, $n) = tempfile(UNLINK => 1); print $h encode_json({a => [1, 2]}); close $h; print sha1_hex("x"), "\n", `ls -l $n`'
printf 'a b\nc d\n' > t && perl -i.bak -pe 's/(\w) (\w)/$2 $1/' t && cat t t.bak
