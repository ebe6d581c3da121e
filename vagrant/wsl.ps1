# Put a Debian of its own into WSL, make it sick in the way that wsl-path mends, and show that. After packages.ps1.
# Usage: wsl.ps1 CHECKOUT [1|2]   the version of WSL; 1 needs no virtual machine in the machine
param([Parameter(Mandatory = $true)][string]$Tree, [int]$Version = 2)
$env:WSL_UTF8 = 1
$wsl = "$env:ProgramFiles\WSL\wsl.exe"  # that of System32 does not work without a desktop: microsoft/WSL issue 9231
$sick = '--distribution', 'ccremedy-sick'
if ((& $wsl --list --quiet) -contains 'ccremedy-sick') { & $wsl --unregister ccremedy-sick }
& $wsl --set-default-version $Version
& $wsl --install Debian --name ccremedy-sick --no-launch --web-download
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
& $wsl @sick --user root --cd $Tree --exec sh vagrant/packages.sh
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
& $wsl @sick --user root --exec useradd --create-home --shell /bin/bash dev
& $wsl @sick --user dev --cd $Tree --exec cp -r . /home/dev/ccremedy
& $wsl @sick --user dev --cd /home/dev/ccremedy --exec sh vagrant/break-wsl.sh
if ($LASTEXITCODE -ne 0) { exit $LASTEXITCODE }
& $wsl @sick --user dev --cd /home/dev/ccremedy --exec sh vagrant/symptom-wsl.sh
exit $LASTEXITCODE
