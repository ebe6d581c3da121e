// A Windows program that says which words it was given, and that hands lines to cmd.exe as they are.
//
//   words.exe WORD...     prints, as UTF-8 in hex and one to a line: its command line, and each word by the C runtime
//                         (one mark `=`) and by CommandLineToArgvW (`+`); then `.`
//   words.exe @FILE       starts each line of FILE (UTF-8) as a command line, raw, one after the other
//   words.exe $names NAME...    prints these variables likewise (`$`)
#include <windows.h>
#include <shellapi.h>
#include <stdio.h>
#include <stdlib.h>

int _dowildcard = 0; // what MinGW does of itself, and Microsoft's runtime does not

static void put(char mark, const wchar_t *text) {
    int size = WideCharToMultiByte(CP_UTF8, 0, text, -1, NULL, 0, NULL, NULL);
    char *bytes = malloc(size);
    WideCharToMultiByte(CP_UTF8, 0, text, -1, bytes, size, NULL, NULL);
    putchar(mark);
    for (int i = 0; i < size - 1; i++) printf("%02x", (unsigned char)bytes[i]);
    putchar('\n');
    free(bytes);
}

static void start_each(const wchar_t *path) {
    FILE *file = _wfopen(path, L"rb");
    static char line[65536];
    while (fgets(line, sizeof line, file)) {
        static wchar_t wide[65536];
        line[strcspn(line, "\n")] = 0;
        MultiByteToWideChar(CP_UTF8, 0, line, -1, wide, 65536);
        STARTUPINFOW how = {sizeof how};
        PROCESS_INFORMATION made;
        if (!CreateProcessW(NULL, wide, NULL, NULL, TRUE, 0, NULL, NULL, &how, &made)) {
            printf("!%lu\n", GetLastError());
        } else {
            WaitForSingleObject(made.hProcess, INFINITE);
            CloseHandle(made.hProcess);
            CloseHandle(made.hThread);
        }
        puts("end");
        fflush(stdout);
    }
}

int wmain(int count, wchar_t **words) {
    if (count == 2 && words[1][0] == L'@') {
        start_each(words[1] + 1);
        return 0;
    }
    if (count > 1 && !wcscmp(words[1], L"$names")) {
        static wchar_t value[32768];
        for (int i = 2; i < count; i++) {
            SetLastError(0);
            if (GetEnvironmentVariableW(words[i], value, 32768) || !GetLastError()) put('$', value);
            else puts("$-");
        }
    } else {
        int other = 0;
        wchar_t **split = CommandLineToArgvW(GetCommandLineW(), &other);
        put('>', GetCommandLineW());
        for (int i = 1; i < count; i++) put('=', words[i]);
        for (int i = 1; i < other; i++) put('+', split[i]);
    }
    puts(".");
    fflush(stdout);
    return 0;
}
