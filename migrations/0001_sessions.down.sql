DROP TABLE session_events;
DROP TABLE answers;
DROP TABLE participants;
DROP TABLE sessions;
DROP TABLE quiz_versions;
DROP TABLE quizzes;
