/* Stand-in: a program to be made setuid. */
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	printf("I am %d\n", (int)geteuid());
	return 0;
}
