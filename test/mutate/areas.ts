import { globSync } from 'node:fs'

/** What is mutated together, and the tests that have to notice. */
export interface Area {
  readonly sources: readonly string[]
  /** Globs of test files. All of them are of the project `fast`. */
  readonly tests: readonly string[]
  /** Of these, which start a TPM, commands or tools of others: they would take minutes for each mutant. */
  readonly without: readonly string[]
  /** Where mutants that live on are explained. */
  readonly survivors: string
}

function ofRoom(room: string, ...without: string[]): Area {
  return {
    sources: [`src/${room}/*.ts`],
    tests: [`test/${room}/*.test.ts`],
    without: without.map((name) => `test/${room}/${name}.test.ts`),
    survivors: `test/${room}/survivors.json`,
  }
}

export const AREAS: Readonly<Record<string, Area>> = {
  token: ofRoom('token', 'keys'),
  policy: ofRoom('policy'),
  // Every rule that a request has to pass before anybody asks what it wants, and what counts requests.
  requests: {
    sources: [
      'src/http/{admission,pipelining,request-order,unread}.ts',
      'src/relay/{judged-request,known-path,limits,own-paths,request-rules}.ts',
    ],
    tests: ['test/http/*.test.ts', 'test/relay/*.test.ts'],
    without: [],
    survivors: 'test/relay/survivors.json',
  },
  caller: {
    ...ofRoom('caller', 'tcp-caller', 'socket-diag'),
    // Not those that ask about networks: their tests have networks, and processes in these, of their own.
    sources: [
      'src/caller/{caller,cgroup-place,cgroup-tree,connection,connections-per-address}.ts',
      'src/caller/{kernel-features,lazy-caller,proc-net-tcp,proc-status,process}.ts',
      'src/caller/{row-owner,shown,unknown}.ts',
      'src/open-counts.ts',
    ],
    tests: ['test/caller/*.test.ts', 'test/open-counts.test.ts'],
  },
  storage: ofRoom('storage'),
  audit: ofRoom('audit'),
  metadata: ofRoom('metadata'),
  // The verifier. Left out are tests that weigh a heap or start commands, which no mutant reaches.
  verify: {
    ...ofRoom('verify', 'anchors', 'command', 'heap', 'oracles'),
    sources: ['src/verify/*.ts', 'src/format/{time,tpm-key}.ts', 'src/remembered.ts'],
    tests: [
      'test/verify/*.test.ts',
      'test/certificates/{chain,crl}.test.ts',
      'test/measurements/{logs,trusted-policy}.test.ts',
      'test/format/tpm-key.test.ts',
    ],
  },
  certificates: {
    ...ofRoom('certificates'),
    tests: [
      'test/certificates/*.test.ts',
      'test/verify/{anchor-needs,checks,hostile,key-checks,numbers,structures,trust,vouched-ak}.test.ts',
      'test/format/tpm-key.test.ts',
    ],
  },
  measurements: {
    ...ofRoom('measurements'),
    tests: ['test/measurements/*.test.ts', 'test/verify/suggest-policy.test.ts'],
  },
  results: ofRoom('results', 'result-command', 'result-python'),
}

export function testsOf({ tests, without }: Area): string[] {
  return globSync([...tests], { exclude: [...without] }).sort()
}
