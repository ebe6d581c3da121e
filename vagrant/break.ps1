# Make the user who runs this meet what ccremedy mends on Windows: the folder of claude has fallen off the user's Path,
# no script may run in PowerShell, and Claude Code's state file is cut short. No administrator is needed. It refuses
# where there are files of Claude Code's that it has not made itself.
$ErrorActionPreference = 'Stop'
$state = Join-Path $HOME '.claude.json'
$folder = Join-Path $HOME '.claude'
$mark = Join-Path $folder 'made-by-break-ps1'
$cutShort = '{"hasCompletedOnboarding": true, "projects": {"C:/work": {"hasTrustDialogAcc'
$theirs = (Test-Path $state) -and "$(Get-Content -Raw $state)" -cne $cutShort
if ($theirs -or ((Test-Path $folder) -and -not (Test-Path $mark))) {
  [Console]::Error.WriteLine("break.ps1: there is a Claude Code of your own here ($state), which I leave alone")
  exit 1
}
$path = (Get-Item HKCU:\Environment).GetValue('Path', '', 'DoNotExpandEnvironmentNames')
$lost = (Join-Path $env:APPDATA 'npm'), (Join-Path $HOME '.local\bin')
$kept = $path -split ';' |
  Where-Object { $lost -notcontains [Environment]::ExpandEnvironmentVariables($_).TrimEnd('\') }
Set-ItemProperty HKCU:\Environment Path ($kept -join ';') -Type ExpandString
# Not by Set-ExecutionPolicy: that fails, although it works, where this script itself was let run by a parameter.
$policy = 'HKCU:\Software\Microsoft\PowerShell\1\ShellIds\Microsoft.PowerShell'
if (-not (Test-Path $policy)) { New-Item $policy -Force | Out-Null }
Set-ItemProperty $policy ExecutionPolicy Restricted
New-Item -ItemType Directory -Force (Join-Path $folder 'projects') | Out-Null
New-Item -ItemType File -Force $mark | Out-Null
Set-Content $state $cutShort -NoNewline -Encoding Ascii
Write-Output 'This machine is sick now: install-path, ps-policy and reset-config have something to mend.'
