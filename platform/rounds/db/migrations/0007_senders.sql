-- A role for machines that send scans over HTTP and may do nothing else.

ALTER TABLE people DROP CONSTRAINT people_roles_check;
ALTER TABLE people ADD CONSTRAINT people_roles_check CHECK (cardinality(roles) > 0
    AND roles <@ ARRAY['annotator', 'checker', 'senior', 'qa', 'engineer', 'admin', 'sender']);
