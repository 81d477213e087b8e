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

/** @param sources names in `src/verify`, @param tests those in `test/verify`, both with commas between them */
function ofVerify(sources: readonly string[], tests: readonly string[], survivors: string): Area {
  return {
    sources: [`src/verify/{${sources.join(',')}}.ts`],
    tests: [`test/verify/{${tests.join(',')}}.test.ts`],
    without: [],
    survivors: `test/verify/${survivors}.json`,
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
  // The judge of evidence and of identity tokens, in four parts. known-certificates.test.ts weighs a heap, and anchors,
  // command, oracles, result-command and result-python start commands, which no mutant reaches.
  verify: ofVerify(
    [
      'aliyun,anchor-needs,attestation,attestation-checks,challenge,check,claims,clock',
      'compact-jws,document-checks,dpop-proof,endorsement,identity-document,identity-token,index',
      'key-checks,key-template,make-credential,nonce,proof,record,remembered,state-checks,subject',
      'time,tpm-key,trust,trust-sets,unwrap-evidence,verified,verify,verify-error,vouched-ak',
      'workload-proof',
    ],
    [
      'activation,anchor-needs,attestation,bind,chain,checks,clock,crl,demands,hostile,identity-token,key-checks,logs',
      'key-template,make-credential,numbers,proof,record,structures,tpm-key,trust,trusted-policy,verified,verify-error,vouched-ak',
    ],
    'survivors',
  ),
  certificates: ofVerify(
    [
      'certificate*,chain,crl*,der,der-time,distinguished-name,extension-oids,general-names',
      'key-certificate,key-identifiers,known-certificates,name-*,path-links,revocation,spki',
    ],
    [
      'anchor-needs,chain,checks,crl,hostile,key-checks,name-constraints,numbers,structures,tpm-key,trust,vouched-ak',
    ],
    'certificate-survivors',
  ),
  measurements: ofVerify(
    [
      'authority,kernel-lines,logs,nv-pcrs,pcr-*,policy-rules,proven-events,replayed-logs,secure-boot',
      'signing-key,suggest*,trusted-policy',
    ],
    [
      'event-log,logs,pcr-policy,policy-bounds,pcr-signature,policy-rules,replay-steps,suggest-policy,trusted-policy',
    ],
    'measurement-survivors',
  ),
  results: ofVerify(
    ['result-*,sign-result,signed-result,verify-result'],
    ['result,result-bounds,result-cwt,result-cwt-bounds'],
    'result-survivors',
  ),
}

export function testsOf({ tests, without }: Area): string[] {
  return globSync([...tests], { exclude: [...without] }).sort()
}
