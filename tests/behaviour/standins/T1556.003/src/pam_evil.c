/* Stand-in: a library to be named where logins look for their modules; it lets nobody in. */
int pam_sm_authenticate(void *handle, int flags, int argc, const char **argv)
{
	(void)handle, (void)flags, (void)argc, (void)argv;
	return 7;
}
