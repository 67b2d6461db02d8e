delete globalThis.__boot;
delete globalThis.__encode;
delete globalThis.__poll;
delete globalThis.__prepare;
delete globalThis.__command;
