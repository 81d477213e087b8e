import { defineConfig } from 'vitest/config'

// Waits end what hangs; none of them measures. A machine that is busy with something else is slow, not wrong.
const bounds = {
  testTimeout: 300_000,
  hookTimeout: 300_000,
  expect: { poll: { timeout: 120_000 } },
  pool: 'forks',
} as const

// Bundles what they start.
const programs = { ...bounds, globalSetup: 'test/harness/bundled-programs.ts' }

// `fast` is what ./dev check runs: values in, values out, and single parts. `whole` starts agents,
// TPMs and clouds as processes. Two cores are enough for two files at a time.
// Tests of the single rooms of src/, and of what stands beside them.
const ROOMS =
  'admin,agent,audit,caller,certificates,dialect,federation,format,http,identity,measurements,metadata,page,policy,registrar,registrar-keys,registrar-repository,relay,results,storage,token,verify'

export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          ...bounds,
          name: 'fast',
          include: ['test/*.test.ts', `test/{${ROOMS},documents,fuzz,soak}/*.test.ts`],
        },
      },
      {
        test: {
          ...programs,
          name: 'whole',
          include: [
            'test/{faults,flow,cli,simulate,packages,sdk,model}/**/*.test.ts',
            'native/{linux,tpm2-js}/test/**/*.test.ts',
          ],
        },
      },
      // Registrars, alone and with agents: ./dev test-fleet.
      {
        test: {
          ...programs,
          name: 'fleet',
          include: ['test/fleet/*.test.ts', 'native/pkcs11/test/*.test.ts'],
        },
      },
      // What pages tell to type, typed: ./dev test-pages.
      { test: { ...bounds, name: 'pages', include: ['test/pages/*.test.ts'] } },
      // Programs of other people on an agent: ./dev test-clients.
      { test: { ...programs, name: 'clients', include: ['test/clients/*.test.ts'] } },
      // Networks, containers and firewalls of their own, for minutes: ./dev test-lockdown.
      { test: { ...programs, name: 'lockdown', include: ['test/lockdown/**/*.test.ts'] } },
      // The attacks of SECURITY.md's table on the agent as packaged: ./dev test-adversary.
      {
        test: {
          ...bounds,
          // Some start an agent eight times.
          testTimeout: 600_000,
          name: 'adversary',
          include: ['test/adversary/*.test.ts'],
          globalSetup: 'test/adversary/shared-agent.ts',
        },
      },
      // The registrar on PostgreSQL, pgbouncer and haproxy: ./dev test-postgresql installs them.
      { test: { ...programs, name: 'postgresql', include: ['test/postgresql/*.test.ts'] } },
      // The status page in Chromium: ./dev test-ui installs it.
      { test: { ...programs, name: 'browser', include: ['test/browser/*.test.ts'] } },
    ],
  },
})
