import { AUDIENCE_PATHS } from '../policy/audience.ts'

/** Paths of the agent's own on the metadata socket. */
export const OWN_PREFIX = '/metabind/'
export const WHOAMI_PATH = '/metabind/v1/whoami'
export const INSPECT_PATH = '/metabind/v1/inspect'
export const CREDENTIALS_URL_PATH = '/metabind/v1/credentials-uri'
/** Asked by POST, with a body. */
export const PROOF_PATH = '/metabind/v1/proof'
export const EXPLAIN_PROOF_PATH = '/metabind/v1/explain-proof'
/** What follows is the path that is asked about. */
export const EXPLAIN_PREFIX = '/metabind/v1/explain/'

export const OWN_PATHS: readonly string[] = [
  WHOAMI_PATH,
  INSPECT_PATH,
  ...AUDIENCE_PATHS,
  CREDENTIALS_URL_PATH,
  PROOF_PATH,
  EXPLAIN_PROOF_PATH,
]
