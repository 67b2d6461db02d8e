/* Stand-in: sets modes of the file it is given, as its script says. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int main(int argc, char **argv)
{
	char path[4096];
	if (argc < 3 || snprintf(path, sizeof path, "%s%s", argv[1], argv[2]) >= (int)sizeof path)
		return 1;
	return chmod(path, S_ISUID | S_ISGID | 0777) != 0;
}
