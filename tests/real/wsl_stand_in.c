/* A wsl.exe for Windows machines that have no WSL: it stands for the real one, and no Linux is behind it.

   The name of the distribution says what it does; what it says is what others have seen the real one say:
   - Gone: microsoft/WSL's own text and code, as in pret/pokeemerald#2190 (2025-10-20); exit code 0xffffffff as in
     docker/for-win#14948 (2025-10-04)
   - Empty: microsoft/WSL#9179 (2022-11-19), WSL of the Store; exit code 4294967295 as in microsoft/WSL#5431 (2020-06-18)
   - Proxy: answers after a warning on standard error, microsoft/WSL#10753 (2023-11; there in Chinese), here as in
     its localization/strings/en-US (2026-08-08)
   - Asleep: never answers, and neither does the program that it has started
   - Debian, Windows, Nothing: what a shell inside says to `command -v claude; command -v node`
   Its own words are UTF-16LE without a mark at the beginning (tailscale/tailscale#3170, 2021-10-22), those from inside
   are UTF-8. */
#include <fcntl.h>
#include <io.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>
#include <windows.h>

#define QUESTION "exec ${SHELL:-/bin/sh} -lic 'command -v claude; command -v node; echo ccremedy-asked'"

static int own(FILE *to, const wchar_t *words, int code)
{
    fwrite(words, sizeof *words, wcslen(words), to);
    return code;
}

static int inside(const char *words)
{
    fputs(words, stdout);
    return 0;
}

static int sleep_with_a_child(char *program)
{
    STARTUPINFOA start = {sizeof start};
    PROCESS_INFORMATION made;
    char line[MAX_PATH + 32];
    snprintf(line, sizeof line, "\"%s\" child", program);
    CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &made); /* it holds our output, too */
    Sleep(INFINITE);
    return 0;
}

int main(int count, char **words)
{
    _setmode(_fileno(stdout), _O_BINARY);
    _setmode(_fileno(stderr), _O_BINARY);
    if (count == 2 && !strcmp(words[1], "child"))
        Sleep(INFINITE);
    if (count != 7 || strcmp(words[1], "-d") || strcmp(words[3], "-e") || strcmp(words[4], "/bin/sh")
        || strcmp(words[5], "-c") || strcmp(words[6], QUESTION))
        return own(stdout, L"Invalid command line argument\r\n", -1);
    if (!strcmp(words[2], "Debian"))
        return inside("/home/jo/.local/bin/claude\n/home/jo/v\xc3\xa9lo/bin/node\nccremedy-asked\n");
    if (!strcmp(words[2], "Windows"))
        return inside("/mnt/c/Users/Jo Doe/AppData/Roaming/npm/claude\nccremedy-asked\n");
    if (!strcmp(words[2], "Nothing"))
        return inside("ccremedy-asked\n");
    if (!strcmp(words[2], "Proxy")) {
        own(stderr, L"wsl: A localhost proxy configuration was detected but not mirrored into WSL. "
                    L"WSL in NAT mode does not support localhost proxies.\r\n", 0);
        return inside("ccremedy-asked\n");
    }
    if (!strcmp(words[2], "Empty"))
        return own(stdout, L"Windows Subsystem for Linux has no installed distributions.\r\n\r\n"
                           L"Use 'wsl.exe --list --online' to list available distributions\r\n"
                           L"and 'wsl.exe --install <Distro>' to install.\r\n\r\n"
                           L"Distributions can also be installed by visiting the Microsoft Store:\r\n"
                           L"https://aka.ms/wslstore\r\n"
                           L"Error code: Wsl/Service/CreateInstance/GetDefaultDistro/WSL_E_DEFAULT_DISTRO_NOT_FOUND\r\n", -1);
    if (!strcmp(words[2], "Asleep"))
        return sleep_with_a_child(words[0]);
    return own(stdout, L"There is no distribution with the supplied name.\r\n"
                       L"Error code: Wsl/Service/WSL_E_DISTRO_NOT_FOUND\r\n", -1);
}
