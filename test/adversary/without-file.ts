/**
 * Rows of SECURITY.md's table of threats whose attack nobody can make here who has no more than the attacker: the
 * reason, and the test that stands in.
 */
export const WITHOUT_FILE: Readonly<Record<string, readonly [why: string, test: string]>> = {
  'line-in-a-name': [
    'it needs a cgroup that systemd has delegated, or Linux before 5.14',
    'test/caller/cgroup-place.test.ts',
  ],
  'reboot-under-lockdown': [
    'it needs a machine that boots, with its own firewall service, network and units: a guest does',
    'test/vm/third-boot.sh',
  ],
  'tampered-package': [
    'it needs signed packages and roots to install them into: there the attack is made from the web server',
    'test/packages/check-repositories',
  ],
  'others-fleet-token': [
    'it needs a registrar beside the agent: its tests start one',
    'test/fleet/agent.test.ts',
  ],
  'exchange-flood': [
    'it needs a registrar beside the agent: the bounds are held on a clock of the test',
    'test/federation/fleet-tokens.test.ts',
  ],
  'false-registrar': [
    'it is made in the place of a registrar: its test is one',
    'test/federation/registrar-http.test.ts',
  ],
  'forged-result': [
    'results are read by the library, not by a program that is packaged: its tests forge them',
    'test/results/result.test.ts',
  ],
  'renamed-event': [
    'it needs firmware and boot loaders that measure: its tests extend a TPM as they do',
    'test/measurements/policy-rules.test.ts',
  ],
  'quoted-word': [
    'it needs a boot loader that measures: its tests extend a TPM as one does',
    'test/measurements/policy-rules.test.ts',
  ],
  'old-policy': [
    'it is made on a verifier that has no agent: its tests sign with OpenSSL and systemd-measure',
    'test/measurements/trusted-policy.test.ts',
  ],
  'agent-taken-over': [
    'the sandbox is made by systemd and SELinux: a guest writes from inside that of the agent',
    'test/vm/first-boot.sh',
  ],
}
