import { mkdtempSync, rmSync } from 'node:fs'
import type { Swtpm } from '../../native/tpm2-js/test/swtpm.ts'
import { advance, type StartupDeps, type StartupState } from '../../src/agent/startup.ts'
import { afterFailure, passingProblem } from '../../src/agent/startup-retry.ts'
import { MetabindError } from '../../src/errors.ts'
import { type AttesterDeps, attesterOf } from '../../src/identity/attester.ts'
import { continuityOf } from '../../src/identity/continuity.ts'
import { instanceTpm } from '../../src/identity/tpm.ts'
import { sealedFiles } from '../../src/storage/sealed-files.ts'
import { loadRevocations } from '../../src/token/revocations.ts'
import { loadSalt } from '../../src/token/salt.ts'
import type { Real } from './replay.ts'
import type { StartupAction } from './startup.ts'

const INSTANCE_ID = 'i-model'
const SAYS: Readonly<Record<string, string>> = {
  'opening-tpm': 'made',
  'asking-source': 'named',
  'self-testing': 'passed',
  'deriving-keys': 'derived',
}

/** Takes the steps of `startup.ts` with the agent's own start and a software TPM. */
export async function realStartup(swtpm: Swtpm): Promise<Real<StartupAction>> {
  const directory = mkdtempSync('/tmp/mb-model-')
  const tpm = instanceTpm(swtpm.tcti, 60_000)
  let state: StartupState = { at: 'opening-tpm' }
  let isSourceUp = true
  let isDocumentThere = true
  const forAttester: AttesterDeps = {
    tpm,
    dialect: 'aliyun',
    pcrs: { hash: 'sha256', pcrs: [0, 7] },
    akCertificates: [],
    logFiles: {},
    readIdentityDocument: async () => undefined,
    // A document that nobody makes: whether the self-test demands it says whether it passes.
    policy: () => ({
      trust: {},
      ekCertificate: 'prefer',
      ekInstance: 'prefer',
      identityDocument: isDocumentThere ? 'ignore' : 'require',
    }),
  }
  const deps: StartupDeps = {
    ...{ tpm, dialect: 'aliyun', ekCertificate: 'prefer', bootId: 'a boot' },
    attesterOf: (keys, identity) => attesterOf(forAttester, keys, identity),
    continuityOf: (identity) => continuityOf(tpm, identity, directory, () => undefined),
    readInstanceId: async () => {
      if (isSourceUp) return INSTANCE_ID
      throw new MetabindError('SOURCE_DOWN')
    },
    openSealedFiles: (sealKey) => sealedFiles(directory, sealKey, () => undefined),
    onOtherInstance: () => undefined,
    salt: loadSalt(directory),
    revocations: loadRevocations(directory, () => 0),
    bootTimeMs: () => 0,
  }
  const step = async (): Promise<string> => {
    const before = state
    if (before.at === 'ready') return 'ready already'
    try {
      state = await advance(before, deps)
    } catch (error) {
      const problem = passingProblem(error)
      state = afterFailure(before, problem)
      return problem.code
    }
    const isKept = state.at === 'self-testing' && state.insteadOfSource !== undefined
    return isKept ? 'kept' : (SAYS[before.at] ?? before.at)
  }
  return {
    take: {
      step,
      'reset-tpm': async () => {
        await swtpm.reset()
        return 'reset'
      },
      source: () => {
        isSourceUp = !isSourceUp
        return 'changed'
      },
      document: () => {
        isDocumentThere = !isDocumentThere
        return 'changed'
      },
      restart: () => {
        state = { at: 'opening-tpm' }
        return 'begins'
      },
    },
    shows: () => state.at,
    [Symbol.asyncDispose]: async () => {
      await tpm.close()
      rmSync(directory, { recursive: true })
    },
  }
}
