/* main.c - the hato program: finds the sub-command and runs it. */
#include <stdio.h>

int main(int argc, char **argv)
{
    printf("hato %s\n", HATO_VERSION);
    return 0;
}
