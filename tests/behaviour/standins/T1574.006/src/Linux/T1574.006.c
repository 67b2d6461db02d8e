/* Stand-in: a library to be loaded into every program; it does nothing. */
__attribute__((constructor)) static void loaded(void)
{
}
