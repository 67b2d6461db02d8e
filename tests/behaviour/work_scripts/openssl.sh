# Openssl: keys, a certificate of one's own, encryption, hashes.
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out key.pem 2>/dev/null
openssl req -x509 -new -key key.pem -days 1 -subj /CN=localhost -out cert.pem && openssl x509 -in cert.pem -noout -subject
echo hello > plain && openssl enc -aes-256-cbc -pbkdf2 -pass pass:x -in plain -out c && openssl enc -d -aes-256-cbc -pbkdf2 -pass pass:x -in c
openssl dgst -sha256 -sign key.pem -out sig plain && openssl rand -hex 16 && openssl base64 -in plain
