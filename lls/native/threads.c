#include "threads.h"

static void look(void *found, struct share own)
{
    if (own.index == 0)
        *(int *)found = (int)own.of;
}

/* How many threads share work that is worth it. */
int lls_threads(void)
{
    int found = 0;
    share_out(look, &found, WORTH + 1);
    return found;
}
