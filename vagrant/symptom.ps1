# Show what the user of a machine that break.ps1 has been at gets to see; then what ccremedy says to it.
# Usage: symptom.ps1 [CHECKOUT]   (the current directory)
param([string]$Tree = '.')
Set-Location $Tree
# As in a new terminal: the Path of the registry, and not the policy that this script itself was let run by.
$env:Path = (('Machine', 'User' | ForEach-Object { [Environment]::GetEnvironmentVariable('Path', $_) }) -join ';')
Remove-Item Env:PSExecutionPolicyPreference -ErrorAction SilentlyContinue
$json = "python -m json.tool ""$HOME\.claude.json"""
foreach ($command in 'claude --version', 'powershell -NoProfile -Command npm --version', $json) {
  Write-Output "> $command"
  cmd /c "$command 2>&1"
  if ($LASTEXITCODE -eq 0) { [Console]::Error.WriteLine('symptom.ps1: that worked: this machine is not sick'); exit 1 }
}
Write-Output '> python -m ccremedy diagnose'
python -m ccremedy diagnose
exit [int]($LASTEXITCODE -ne 1)  # something was found
