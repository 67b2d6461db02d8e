/* Objects of the kernel that no path names. */
#include "act.h"

#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/shm.h>

/* segment KEY: writes a word into the segment of that key. "make" makes it, everybody's. */
static int segment(char **a) {
    int id = shmget((key_t)atoi(a[0]), 4096, a[1] ? IPC_CREAT | 0666 : 0);
    char *memory = id < 0 ? (void *)-1 : shmat(id, NULL, 0);
    if (memory == (void *)-1) return 0;
    strcpy(memory, "escaped");
    return 1;
}

static int queue(char **a) {
    mqd_t one = mq_open(a[0], O_WRONLY | O_NONBLOCK);
    return one != (mqd_t)-1 && mq_send(one, "escaped", 7, 0) == 0;
}

static const struct act acts[] = {
    {"segment", segment, SYS_shmget},
    {"queue", queue, SYS_mq_open},
};

ACT_MAIN(acts)
