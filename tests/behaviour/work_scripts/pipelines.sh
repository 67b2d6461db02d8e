# Sed, awk, sort, xargs, tee, split and cut over a made-up log.
for n in $(seq 3000); do echo "$((n % 7)) user$((n % 13)) GET /p/$((n % 31)) $((n * 37 % 500))"; done > access.txt
awk '{ sum[$2] += $5 } END { for (u in sum) print sum[u], u }' access.txt | sort -rn | head -3
sed -e 's/user/u/' -e '/^0/d' access.txt | cut -d' ' -f2 | sort | uniq -c | sort -rn > counts
split -l 500 access.txt part. && ls part.* | xargs -n1 -P4 wc -l | tee lines | awk '{s += $1} END {print s}'
sed -i 's/GET/PUT/' access.txt && comm -12 <(sort access.txt) <(sort part.aa) | wc -l && tac counts | paste -sd, - | tr , '\n' | head -2
