# Run the tests inside of the WSL that wsl.ps1 has made; their exit code is this one's.
$sick = '--distribution', 'ccremedy-sick', '--user', 'dev'
& "$env:ProgramFiles\WSL\wsl.exe" @sick --cd /home/dev/ccremedy --exec sh vagrant/suite.sh
exit $LASTEXITCODE
